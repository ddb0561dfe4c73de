"""A migration by roles that have only what docs/security.md grants, each statement read from that page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift import Articles
from embedshift.catalog.table_use import table_use
from embedshift.errors import EmbedshiftError
from embedshift.settings import Settings
from embedshift.steps.context import StepContext
from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from embedshift.telemetry.console import Console
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import World, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
EVERY = "every step"
#: What each step must say about the right that is taken from its role.
WITHOUT = {
    "prepare": ("GRANT CREATE ON KEYSPACE articles ", "CREATE permission"),
    "load": ("GRANT MODIFY ON articles.articles_v2 ", "MODIFY permission"),
    "validate": ("GRANT MODIFY ON articles.articles_v2 ", "MODIFY permission"),
    "index": ("GRANT ALTER ON articles.articles_v2 ", "ALTER permission"),
    "retire": ("GRANT DROP ON articles.articles ", "DROP permission"),
}


def grants_of_the_page() -> dict[str, list[str]]:
    """By step, or by kind of application, the statements that the page gives it."""
    groups: dict[str, list[str]] = {}
    steps: list[str] = []
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("-- "):
                steps = line.removeprefix("-- ").split(", ")
                groups |= {step: [] for step in steps}
            elif line:
                for step in steps:
                    groups[step].append(line.partition(";")[0])
    return {step: grants + (groups[EVERY] if grants[0].endswith("migrator") else []) for step, grants in groups.items()}


class Roles:
    """Makes roles on the guarded node, and acts as them in a world that the superuser has made."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.page = world, grants_of_the_page()
        self._folder = folder
        self._made: dict[str, Settings] = {}

    def settings_of(self, name: str, grants: list[str]) -> Settings:
        """The settings of a role that has these rights alone; made at the first use."""
        if name not in self._made:
            store, settings = self.world.store, self.world.settings
            assert isinstance(store, CqlStore)
            role, password = f"{settings.store.keyspace}_{name}", f"secret of {name}"
            store.connection.define(
                f"CREATE ROLE {role} WITH PASSWORD = '{password}' AND LOGIN = true", "making a role"
            )
            for grant in grants:
                here = grant.replace("embedshift_catalog", str(settings.store.catalog.keyspace))
                here = re.sub(r"\b(KEYSPACE |ON )articles\b(?=\.| TO)", rf"\g<1>{settings.store.keyspace}", here)
                store.connection.define(re.sub(r"\w+$", role, here), grant)
            file = self._folder / name
            file.write_text(f"{role}\n{password}\n")
            connection = settings.store.model_copy(update={"credentials_file": file})
            self._made[name] = settings.model_copy(update={"store": connection})
        return self._made[name]

    def act(self, step: str) -> None:
        """Run a step as the role that has its rights, and before that once without the one that it needs most."""
        grants = self.page[step]
        if step in WITHOUT and f"no_{step}" not in self._made:
            missing, words = WITHOUT[step]
            assert any(grant.startswith(missing) for grant in grants)
            poor = self.settings_of(f"no_{step}", [each for each in grants if not each.startswith(missing)])
            with pytest.raises(EmbedshiftError) as caught:
                run(step, poor)
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)
            if step == "retire":  # what can be refused comes first: nothing is half dropped, and there is a way back
                migration = self.world.migration
                assert migration.state == "switched"
                assert self.world.store.index_state(migration.source.index).status == "serving"
                assert table_use(self.world.store, "articles").state == ""
        run(step, self.settings_of(step, grants))


def run(step: str, settings: Settings) -> None:
    with closing(open_store(settings.store)) as store:
        getattr(import_module(f"embedshift.steps.{step}"), step)(
            StepContext(step, settings, store, Console(quiet=True))
        )


@pytest.fixture
def roles(
    tmp_path: Path, old_model: Path, new_model: Path, guarded: CassandraCluster, password_file: Path
) -> Iterator[Roles]:
    files = guarded.tls_files
    tls = {"ca": str(files.ca), "certificate": str(files.client_cert), "key": str(files.client_key)}
    store = {"tls": tls, "credentials_file": str(password_file)}
    few = {"ranges": 1, "attempts": 1}  # what fails for want of a right fails at every try
    with cluster_world(tmp_path / "world", (old_model, new_model), guarded, store=store, load=few) as world:
        world.create_source(some_articles(30))
        yield Roles(world, tmp_path)


def test_each_step_runs_with_the_rights_of_its_group_and_names_the_one_that_is_missing(
    roles: Roles, spark: SparkContext
) -> None:
    world = roles.world
    for step in (
        "prepare",
        "load",
        "sync",
        "index",
        "sync",
        "validate",
        "cutover",
        "rollback",
        "sync",
        "validate",
        "cutover",
    ):
        if step == "validate":  # which carries what was written since the last sync
            world.write("articles", {"id": "a001", "title": ("Written meanwhile", now_us())})
        roles.act(step)
    assert world.moves[-1] == ("cutover", "articles_v2")
    world.assert_same()
    write_and_search(roles)
    roles.act("retire")
    assert not world.store.exists("articles")


def write_and_search(roles: Roles) -> None:
    """As the applications of the page."""
    with Articles.open(roles.settings_of("write", roles.page["write"])) as writer:
        writer.add({"id": "new", "title": "Tides", "content": "The moon pulls at the sea."})
    assert {("new",)} <= roles.world.read("articles").keys() & roles.world.read("articles_v2").keys()
    with Articles.open(roles.settings_of("search", roles.page["search"])) as reader:
        assert reader.search("The moon pulls at the sea.", k=1)[0].id == "new"
        with pytest.raises(EmbedshiftError, match="no MODIFY permission"):
            reader.delete("new")


def test_a_migration_is_given_up_with_the_rights_of_abort(roles: Roles) -> None:
    roles.world.step("prepare")
    roles.act("abort")
    assert not roles.world.store.exists("articles_v2")
