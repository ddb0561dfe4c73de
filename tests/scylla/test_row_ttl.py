"""A column by which whole rows expire (ScyllaDB 2026.2): the stand-in's rules, and what a migration makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cassandra import InvalidRequest
from cassandra.cluster import Session
from cassandra.protocol import SyntaxException

from embedshift.catalog.setup import ensure_catalog
from embedshift.errors import SchemaError
from embedshift.steps.cutover import plan_lines
from embedshift.steps.row_expiry import give_row_ttl
from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column
from tests.scylla.servers import Server
from tests.scylla.shelves import Shelf, X, Y, new_name
from tests.scylla.stand_in import StandIn
from tests.scylla.worlds import assert_indexed, scylla_world
from tests.world import ARTICLE, HOUR_US, World, eventually, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

QUICK = {"probes": 5, "reembed_sample": 5, "latency_searches": 2, "recall_at_10": 0.3, "self_retrieval": 0}
HOUR_MS = 3_600_000


@pytest.fixture
def store(server: Server, session: Session) -> Iterator[CqlStore]:
    opened = open_store(server.settings.model_copy(update={"keyspace": session.keyspace}))
    assert isinstance(opened, CqlStore)
    yield opened
    opened.close()


def now_ms() -> int:
    return now_us() // 1000


def refused(session: Session, statement: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        session.execute(statement)


def test_what_cannot_be_a_row_ttl_is_refused(session: Session) -> None:
    table = new_name()
    for columns, words in (
        ("p int PRIMARY KEY, a timestamp TTL, b timestamp TTL", "more than one"),
        ("p int PRIMARY KEY, e text TTL", "must be of type"),
        ("p int, e timestamp TTL, PRIMARY KEY (p, e)", "TTL column e"),
        ("p int, c int, e timestamp TTL static, PRIMARY KEY (p, c)", "TTL column e"),
    ):
        refused(session, f"CREATE TABLE {table} ({columns})", words)
    session.execute(
        f'CREATE TABLE {table} (p int, c int, "E" timestamp TTL, f bigint, s int static, t text, m map<int, int>, '
        "PRIMARY KEY (p, c))"
    )
    refused(session, f"ALTER TABLE {table} TTL f", "already has a TTL column")
    session.execute(f"ALTER TABLE {table} TTL NULL")
    for column, words in (
        ("NULL", "does not have a TTL column"),
        ("e", "does not exist"),
        ("c", "Cannot use a primary key"),
        ("s", "Cannot use a static"),
        ("t", "must be of type"),
    ):
        refused(session, f"ALTER TABLE {table} TTL {column}", words)
    session.execute(f'ALTER TABLE {table} TTL "E"')
    session.execute(f'ALTER TABLE {table} DROP "E"')
    session.execute(f"ALTER TABLE {table} TTL f")
    session.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize(("kind", "a_second"), [("timestamp", 1000), ("bigint", 1), ("int", 1)])
def test_rows_expire_with_an_event_that_the_index_follows(
    session: Session, server: Server, kind: str, a_second: int
) -> None:
    table = new_name()
    session.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, title text, v vector<float, 3>, e {kind} TTL)")
    shelf = Shelf(session, server, table)
    shelf.put("stays", X)
    shelf.put("goes", Y)
    shelf.serving(eventually)
    for id_, seconds in (("goes", -60), ("stays", 3600), ("long ago", -200_000_000)):
        at = round(time.time() + seconds) * a_second
        session.execute(f"UPDATE {table} SET e = {at} WHERE id = %s", (id_,))
    eventually(lambda: {row["id"] for row in session.execute(f"SELECT id FROM {table}")} == {"stays", "long ago"}, 60)
    eventually(lambda: shelf.status()["count"] == 1, 60)  # type: ignore[index]
    assert [row["id"] for row in shelf.log() if row["cdc$operation"] == -4] == ["goes"]
    session.execute(f"DROP TABLE {table}")


def test_rows_below_one_partition_expire_alone(session: Session) -> None:
    table = new_name()
    with_log = "PRIMARY KEY (p, c)) WITH cdc = {'enabled': true}"
    session.execute(f"CREATE TABLE {table} (p int, c int, e timestamp TTL, {with_log}")
    for c, at in ((1, now_ms() - 1000), (2, now_ms() + HOUR_MS)):
        session.execute(f"INSERT INTO {table} (p, c, e) VALUES (1, {c}, {at})")
    eventually(lambda: [row["c"] for row in session.execute(f"SELECT c FROM {table}")] == [2], 60)
    rows = eventually(
        lambda: [
            (row["p"], row["c"])
            for row in session.execute(f"SELECT * FROM {table}_scylla_cdc_log")
            if row["cdc$operation"] == -3
        ],
        60,
    )
    assert rows == [(1, 1)]
    session.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("name", ["expires", '"Expires at"', '"a""b"', '"ttl"'])
def test_the_column_is_read_from_the_server_and_set(store: CqlStore, session: Session, name: str) -> None:
    table, plain = new_name(), name.strip('"').replace('""', '"')
    session.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, {name} timestamp, other bigint, tags set<text>)")
    assert store.describe(table).row_ttl is None
    store.set_row_ttl(table, plain)
    assert store.describe(table).row_ttl == plain
    store.set_row_ttl(table, plain)
    with pytest.raises(SchemaError, match=r"expire by .*, not by other: ALTER TABLE .* TTL NULL"):
        store.set_row_ttl(table, "other")
    session.execute(f"DROP TABLE {table}")


def test_a_server_of_before_has_none(server: Server, session: Session, stand_in: StandIn) -> None:
    table = new_name()
    session.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, e timestamp TTL)")
    stand_in.set_version("2026.1.4")
    opened = open_store(server.settings.model_copy(update={"keyspace": session.keyspace}))
    assert opened.describe(table).row_ttl is None
    with pytest.raises(SyntaxException):
        session.execute(f"ALTER TABLE {table} TTL NULL")
    opened.close()
    session.execute(f"DROP TABLE {table}")


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, server: Server) -> Iterator[World]:
    columns = (*ARTICLE, Column("expires", "timestamp"))
    with scylla_world(tmp_path / "world", (old_model, new_model), server, columns=columns, validation=QUICK) as world:
        ensure_catalog(world.store)
        at = now_us() - HOUR_US
        lasting = [
            {**row, "expires": (now_ms() + HOUR_MS, at)} if n % 2 else row
            for n, row in enumerate(some_articles(20, at))
        ]
        world.create_source(world.embedded(world.old_model(), *lasting), before_index=True)
        world.store.set_row_ttl("articles", "expires")
        yield world


def test_the_target_gets_the_source_s_once(world: World) -> None:
    source = world.store.describe("articles")
    assert any("deletes rows of articles by the time in expires" in line for line in world.store.remarks(source))
    world.step("prepare")
    assert world.store.describe("articles_v2").row_ttl is None
    assert "3. let the rows of articles_v2 expire by expires, as those of articles do" in plan_lines(
        world.settings, world.migration, row_ttl=source.row_ttl
    )
    for _ in range(2):
        give_row_ttl(world.context("cutover"), world.migration)
        assert world.store.describe("articles_v2").row_ttl == "expires"


@pytest.mark.long
def test_a_table_whose_rows_expire(world: World, server: Server, stand_in: StandIn, spark: SparkContext) -> None:
    """Invariants 2 and 13: what the server deletes by itself is carried, before the switch and after it."""

    def expire(table: str, *ids: str) -> None:
        """From now on the server deletes these rows when it comes to them."""
        world.write(table, *({"id": id_, "expires": (now_ms() - 1000, now_us())} for id_ in ids))

    def gone(table: str, *ids: str) -> Callable[[], Any]:
        return lambda: not {(id_,) for id_ in ids} & world.read(table).keys()

    def row_ttls() -> tuple[str | None, ...]:
        return tuple(world.store.describe(table).row_ttl for table in ("articles", "articles_v2"))

    world.steps("prepare", "load")
    assert row_ttls() == ("expires", None)
    expire("articles", "a001", "a002")
    eventually(gone("articles", "a001", "a002"), 60)
    world.steps("sync", "index")
    expire("articles", "a003", "a004")
    eventually(gone("articles", "a003", "a004"), 60)
    world.steps("sync", "validate")
    assert row_ttls() == ("expires", None)
    assert gone("articles_v2", "a001", "a002", "a003", "a004")()
    # Due, and not yet deleted when the alias moves.
    stand_in.hold_expiry(held=True)
    expire("articles", "a005", "a006")
    world.steps("sync", "validate", "cutover")
    assert row_ttls() == ("expires", "expires")
    stand_in.hold_expiry(held=False)
    eventually(gone("articles_v2", "a005", "a006"), 60)
    expire("articles_v2", "a007")
    eventually(gone("articles_v2", "a007"), 60)
    world.step("sync")
    lost = {(f"a00{n}",) for n in range(1, 8)}
    assert not lost & world.read("articles_v2").keys()
    assert len(world.read("articles_v2")) == 13
    assert_indexed(world, "articles_v2", server)
    world.step("rollback")
    assert not lost & world.read("articles").keys()
    assert row_ttls() == ("expires", "expires")
