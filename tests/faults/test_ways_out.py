"""Every state has a way out, wherever the alias points: to its source, its target, or another table. Invariant 7.

Two migrations from one table, of which one is switched, may not leave the other in a state that no step leads out of.
"""

from __future__ import annotations

import pytest

from embedshift.catalog.states import ENDED, STATES
from embedshift.catalog.tables import MIGRATION
from embedshift.errors import EmbedshiftError
from embedshift.stores.model import Table
from tests.world import World, now_us

#: The commands that an operator may try, in the order of what keeps most: on, back, and out.
WAYS = ("prepare", "cutover", "rollback", "sync", "validate", "cutover", "retire", "abort")


def in_state(world: World, state: str, place: str) -> None:
    """The migration in a state, and the alias at a place, however they came to be there."""
    migration = world.migration
    facts = world.store.records.get(MIGRATION, {"id": migration.id})["facts"]
    if state not in ("preparing", "prepared", "loaded", "indexed", "synced", "validated"):
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
    before_the_switch = ("preparing", "prepared", "loaded", "indexed", "synced", "validated", "aborting")
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
    loaded.steps("prepare", "load", "index", "sync", "validate", "cutover")
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
    models = {"source": {"table": "articles_v2", "model": first.target.model.model_dump(mode="json")}}
    switched.with_settings(**models, target={"table": "articles_v3"})
    switched.steps("prepare", "load", "index", "sync", "validate", "cutover")
    switched.delete("articles_v3", {"id": "a005"})
    switched.step("rollback")
    assert ("a005",) not in switched.read("articles_v2")
    switched.settings = first
    assert switched.migration.state == "closed"
    assert "rollback may not run: migration articles-to-articles_v2 is closed" in tried(switched, "rollback")
    assert tried(switched, "retire") == ""
