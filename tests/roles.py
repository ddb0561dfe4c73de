"""Roles that have only what docs/security.md grants, each statement read from that page, and a migration by them."""

from __future__ import annotations

import re
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from embedshift import Articles
from embedshift.catalog.table_use import table_use
from embedshift.errors import EmbedshiftError
from embedshift.settings import Settings
from embedshift.steps.context import StepContext
from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from embedshift.telemetry.console import Console
from tests.world import World, eventually, now_us

PAGE = Path(__file__).parents[1] / "docs" / "security.md"
EVERY = "every step"
#: What each step must say about the right that is taken from its role.
WITHOUT = {
    "prepare": ("GRANT CREATE ON KEYSPACE articles ", "CREATE permission"),
    "load": ("GRANT MODIFY ON articles.articles_v2 ", "MODIFY permission"),
    "validate": ("GRANT MODIFY ON articles.articles_v2 ", "MODIFY permission"),
    "index": ("GRANT ALTER ON articles.articles_v2 ", "ALTER permission"),
    "retire": ("GRANT DROP ON articles.articles ", "DROP permission"),
}


def grants_of_the_page(*, without: str = "") -> dict[str, list[str]]:
    """By step, or by kind of application, the statements that the page gives it.

    Args:
        without: a keyspace whose statements are left out, as the page says of a server that does not have it.
    """
    groups: dict[str, list[str]] = {}
    steps: list[str] = []
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("-- "):
                steps = line.removeprefix("-- ").split(", ")
                groups |= {step: [] for step in steps}
            elif line and not (without and f"KEYSPACE {without} " in line):
                for step in steps:
                    groups[step].append(line.partition(";")[0])
    return {step: grants + (groups[EVERY] if grants[0].endswith("migrator") else []) for step, grants in groups.items()}


class Roles:
    """Makes roles on a server with passwords, and acts as them in a world that the superuser has made.

    Args:
        world: the world.
        folder: for files of passwords.
        without: a keyspace that the server does not have.
    """

    def __init__(self, world: World, folder: Path, *, without: str = "") -> None:
        self.world, self.page = world, grants_of_the_page(without=without)
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


STEPS = (
    *("prepare", "load", "sync", "index", "sync", "validate", "cutover"),
    *("rollback", "sync", "validate", "cutover"),
)


def live(roles: Roles) -> None:
    """A migration to its end and the applications beside it, each step by its own role.

    Whoever lacks a right that his step needs is told so.
    """
    world = roles.world
    for step in STEPS:
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
        eventually(lambda: reader.search("The moon pulls at the sea.", k=1)[0].id == "new", 60)
        with pytest.raises(EmbedshiftError, match="no MODIFY permission"):
            reader.delete("new")
