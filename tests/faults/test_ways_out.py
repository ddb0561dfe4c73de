"""Every state has a way out, wherever the alias points: to its source, its target, or another table. Invariant 7.

Two migrations from one table, of which one is switched, may not leave the other in a state that no step leads out of.
"""

from __future__ import annotations

import pytest

from embedshift.catalog.states import ENDED, STATES
from embedshift.catalog.tables import MIGRATION
from embedshift.errors import EmbedshiftError, RefusedError
from embedshift.stores.model import Table
from tests.world import World, now_us

#: The commands that an operator may try, in the order of what keeps most: on, back, and out.
WAYS = ("prepare", "cutover", "rollback", "sync", "validate", "cutover", "retire", "abort")


def in_state(world: World, state: str, place: str) -> None:
    """The migration in a state, and the alias at a place, however they came to be there."""
    migration = world.migration
    facts = world.store.records.get(MIGRATION, {"id": migration.id})["facts"]
    if state not in ("preparing", "prepared", "loaded", "caught_up", "indexed", "synced", "validated"):
        facts = facts.replace('"switched_us": null', f'"switched_us": {now_us()}')
    changes = {"state": state, "facts": facts}
    assert world.store.records.update_if(MIGRATION, {"id": migration.id}, changes, {"owner": ""})
    if place == "target":
        world.move(migration.target)
    elif place == "elsewhere":
        from dataclasses import replace

        described = world.store.describe("articles_v2")
        world.store.create(Table("articles_v9", described.columns))
        world.move(replace(migration.target, table="articles_v9", index_name="articles_v9_idx"))


def tried(world: World, step: str) -> str:
    """What an operator who tries a step is told; empty if it was done."""
    try:
        world.step(step)
    except EmbedshiftError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", ["source", "target", "elsewhere"])
@pytest.mark.parametrize("state", [name for name in STATES if name not in ENDED])
def test_from_every_state_some_step_leads_to_an_end(loaded, state, place):
    before_the_switch = ("preparing", "prepared", "loaded", "caught_up", "indexed", "synced", "validated", "aborting")
    if place == "target" and state in before_the_switch:
        pytest.skip("the alias points to the target only after the state has said so")
    if place == "source" and state in ("switched", "closed", "retiring"):
        pytest.skip("the alias is back at the source only after the state has said so")
    in_state(loaded, state, place)
    said = []
    for _ in range(2):
        for step in WAYS:
            if loaded.migration.state in ENDED:
                break
            said.append(f"{loaded.migration.state}: {step}: {tried(loaded, step)}")
    assert loaded.migration.state in ENDED, "\n".join(said)
    # Whatever the way was, the table that is live is still there.
    assert loaded.store.exists(loaded.alias.target.table)


def test_two_migrations_from_one_table_do_not_block_each_other(loaded):
    """The first is killed between its state and its move; the second switches; the first is ended by an abort."""
    loaded.step("validate")
    in_state(loaded, "switching", "source")
    first = loaded.settings
    loaded.with_settings(target={"table": "articles_v3"})
    loaded.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    assert loaded.alias.target.table == "articles_v3"
    second = loaded.settings
    loaded.settings = first
    for step in ("cutover", "rollback"):
        assert "embedshift abort" in tried(loaded, step)
    loaded.step("abort")
    assert loaded.migration.state == "aborted"
    loaded.settings = second
    loaded.step("retire")
    assert loaded.migration.state == "retired"


def test_a_chain_closes_the_older_way_back_and_says_so(switched, capsys):
    """v1 to v2 to v3, a deletion in v3, back to v2: there is no way to v1, to which clients have not written since."""
    first = switched.settings
    chained(switched)
    switched.delete("articles_v3", {"id": "a005"})
    switched.step("rollback")
    assert ("a005",) not in switched.read("articles_v2")
    switched.settings = first
    assert switched.migration.state == "closed"
    assert "rollback may not run: migration articles-to-articles_v2 is closed" in tried(switched, "rollback")
    assert tried(switched, "retire") == ""


def chained(world: World) -> None:
    """The next migration, from the target of this one, switched."""
    models = {"source": {"table": "articles_v2", "model": world.settings.target.model.model_dump(mode="json")}}
    world.with_settings(**models, target={"table": "articles_v3"})
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")


def test_a_cutover_that_was_killed_after_its_move_is_closed_by_the_next_one(switched):
    in_state(switched, "switching", "source" if switched.alias.target.table == "articles" else "there")
    first = switched.settings
    chained(switched)
    switched.settings = first
    assert switched.migration.state == "closed"
    assert tried(switched, "retire") == ""


def test_a_closed_way_back_is_compared_before_it_goes(switched):
    at_us = now_us()
    row = {"id": "stray", "title": ("Salt", at_us), "content": ("keeps bread", at_us)}
    switched.write("articles", *switched.embedded(switched.old_model(), row))
    first = switched.settings
    chained(switched)
    switched.settings = first
    assert "articles has 1 rows that were written to it since the cutover" in tried(switched, "retire")
    switched.step("retire", discard=True)


def test_a_cutover_that_is_refused_leaves_the_older_way_back_open(switched, monkeypatch):
    from embedshift.steps import cutover

    def refused(*_: object, **__: object) -> None:
        raise RefusedError("somebody has claimed the alias")

    first = switched.settings
    monkeypatch.setattr(cutover, "move_alias", refused)
    with pytest.raises(RefusedError, match="claimed"):
        chained(switched)
    switched.settings = first
    assert switched.migration.state == "switched"
    assert tried(switched, "rollback") == ""
