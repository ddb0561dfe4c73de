"""A migration on ScyllaDB by roles that have only what docs/security.md grants, each statement read from that page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift.errors import NotPermitted
from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column
from scripts.run_cassandra import CassandraCluster
from tests.roles import Roles, live
from tests.scylla.backend import Node
from tests.scylla.servers import SLOW, Server, settings_of
from tests.scylla.stand_in import StandIn
from tests.scylla.worlds import scylla_world
from tests.world import ARTICLE, HOUR_US, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

ROW_TTL = "cutover of a table with a row TTL column"


@pytest.fixture(scope="module")
def server(guarded: CassandraCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A stand-in that asks for passwords."""
    assert guarded.tls_files is not None
    assert guarded.credentials is not None
    node = Node(guarded.hosts[0], guarded.port, guarded.tls_files.client_context(), guarded.credentials)
    file = tmp_path_factory.mktemp("superuser") / "credentials"
    file.write_text("\n".join(guarded.credentials) + "\n")
    with StandIn(node, slow=SLOW) as stand_in:
        settings = settings_of(stand_in, guarded, credentials_file=file)
        yield Server(settings, stand_in, SLOW.lag_s + 2 * SLOW.poll_s + 0.5)


@pytest.fixture
def roles(tmp_path: Path, old_model: Path, new_model: Path, server: Server) -> Iterator[Roles]:
    few = {"ranges": 1, "attempts": 1}  # what fails for want of a right fails at every try
    quick = {"probes": 5, "reembed_sample": 5, "latency_searches": 2, "recall_at_10": 0.3, "self_retrieval": 0}
    columns = (*ARTICLE, Column("expires", "timestamp"))
    options = {"load": few, "validation": quick}
    with scylla_world(tmp_path / "world", (old_model, new_model), server, columns=columns, **options) as world:
        rows = some_articles(30, now_us() - HOUR_US)
        world.create_source(world.embedded(world.old_model(), *rows), before_index=True)
        yield Roles(world, tmp_path, without="system_views")


@pytest.mark.long
def test_each_step_runs_with_the_rights_of_its_group_and_names_the_one_that_is_missing(
    roles: Roles, spark: SparkContext
) -> None:
    live(roles)


def test_system_tables_are_unknown_until_they_are_granted(roles: Roles) -> None:
    def opened(name: str, *more: str) -> CqlStore:
        settings = roles.settings_of(name, [*roles.page["every step"], *more])
        found = open_store(settings.store)
        assert isinstance(found, CqlStore)
        return found

    granted = [f"GRANT SELECT ON system.{table} TO migrator" for table in ("tablets", "versions")]
    with closing(opened("poor")) as poor, closing(opened("rich", *granted)) as rich:
        assert (poor.label.split(" at ")[0], rich.label.split(" at ")[0]) == ("ScyllaDB", "ScyllaDB 2026.2.2")
        assert (poor.holds_several_indexes(), rich.holds_several_indexes()) == (False, True)
        with pytest.raises(NotPermitted, match=r"no SELECT permission on <table system\.tablets>"):
            poor.connection.rows("SELECT * FROM system.tablets", doing="looking")
        assert rich.connection.rows("SELECT * FROM system.tablets", doing="looking")


def test_the_row_ttl_of_a_target_needs_a_right_of_its_own(roles: Roles) -> None:
    world = roles.world
    world.store.set_row_ttl("articles", "expires")
    world.step("prepare")
    for name, grants, permitted in (
        ("without", roles.page["cutover"], False),
        ("with", roles.page["cutover"] + roles.page[ROW_TTL], True),
    ):
        with closing(open_store(roles.settings_of(name, grants).store)) as store:
            assert store.describe("articles").row_ttl == "expires"
            if permitted:
                store.set_row_ttl("articles_v2", "expires")
                assert store.describe("articles_v2").row_ttl == "expires"
            else:
                with pytest.raises(NotPermitted, match="no ALTER permission"):
                    store.set_row_ttl("articles_v2", "expires")


def test_a_migration_is_given_up_with_the_rights_of_abort(roles: Roles) -> None:
    roles.world.step("prepare")
    roles.act("abort")
    assert not roles.world.store.exists("articles_v2")
