"""A run that lost its lease, or whose alias has moved, does nothing that cannot be undone. Invariant 12."""

from __future__ import annotations

import pytest

import embedshift.articles.drop
import embedshift.steps.cutover
import embedshift.steps.retire
from embedshift.catalog.alias import get_alias, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.guard import drop_table
from embedshift.catalog.lease import held
from embedshift.catalog.ranges import read_ranges
from embedshift.catalog.table_use import close_table, reopen_table, use_table
from embedshift.catalog.tables import MIGRATION
from embedshift.errors import OwnedByAnother, RefusedError
from embedshift.spark.stores import Stores
from embedshift.spark.task import carry_range
from embedshift.spark.transfer import transfer_of
from embedshift.tokens import WHOLE_RING
from tests.world import World, now_us

ANOTHER = "another@elsewhere:1/abcdef"


def stolen(world: World) -> None:
    """Another run takes the migration, as it may once this one has been silent for as long as its lease."""
    until = now_us() + 60_000_000
    owner = {"owner": ANOTHER, "owned_since_us": now_us(), "lease_until_us": until}
    key = {"id": world.migration.id}
    assert world.store.records.update_if(MIGRATION, key, owner, {"owner": world.migration.owner})


def test_a_retire_that_slept_through_its_lease_drops_nothing(switched, monkeypatch):
    """It has looked at everything, sleeps, and meanwhile another operator has taken the migration and rolled back."""

    def rolled_back() -> None:
        stolen(switched)
        switched.move(switched.migration.source, reason="rollback")

    before = switched.read("articles")
    looks = [0]
    check = embedshift.steps.retire.check_unused

    def second_look(*arguments: object) -> None:
        check(*arguments)
        looks[0] += 1
        if looks[0] == 2:
            rolled_back()

    monkeypatch.setattr(embedshift.steps.retire, "check_unused", second_look)
    with pytest.raises(OwnedByAnother, match="lost migration"):
        switched.step("retire")
    assert switched.read("articles") == before
    assert switched.store.index_state(switched.migration.source.index).status == "serving"
    assert switched.migration.state == "switched"


def test_a_cutover_that_slept_before_its_move_does_not_move_the_alias(loaded, monkeypatch):
    loaded.step("validate")
    move = embedshift.steps.cutover.move_alias

    def asleep(*arguments: object, **options: object) -> object:
        stolen(loaded)
        return move(*arguments, **options)

    monkeypatch.setattr(embedshift.steps.cutover, "move_alias", asleep)
    with pytest.raises(OwnedByAnother, match="lost migration"):
        loaded.step("cutover")
    assert loaded.alias.target.table == "articles"
    assert loaded.moves == [("created", "articles")]


def test_an_alias_that_moved_since_it_was_seen_is_not_moved_again(switched):
    claim = claim_alias(switched.store, "articles", switched.migration.id)
    elsewhere = switched.migration.source
    switched.move(elsewhere)
    with (
        held(switched.store, switched.migration, switched.settings.cutover.lease) as lease,
        pytest.raises(RefusedError, match=r"has moved the alias articles to articles \(version 3\): .*decide again"),
    ):
        move_alias(switched.store, lease, claim, elsewhere, migration="", reason="late")
    assert switched.alias.version == 3


def test_a_table_or_index_that_an_alias_names_is_not_dropped(switched):
    live = switched.migration.target
    with (
        held(switched.store, switched.migration, switched.settings.cutover.lease) as lease,
        pytest.raises(RefusedError, match="articles_v2 is live: the alias articles names it"),
    ):
        drop_table(switched.store, lease, live.table)
    assert switched.store.index_state(live.index).status == "serving"


def test_nothing_is_dropped_without_the_lease(loaded):
    with held(loaded.store, loaded.migration, loaded.settings.cutover.lease) as lease:
        stolen(loaded)
        with pytest.raises(OwnedByAnother):
            drop_table(loaded.store, lease, "articles_v2")
    assert loaded.store.exists("articles_v2")


def test_a_task_of_a_run_that_lost_its_lease_deletes_nothing(loaded):
    """A row of the target that the source lacks is an orphan only as long as the run owns the migration."""
    loaded.delete("articles", {"id": "a003"})
    with held(loaded.store, loaded.migration, loaded.settings.cutover.lease) as lease:
        late = transfer_of(
            loaded.settings, loaded.store, loaded.migration, "sync/9", owner=lease.owner, throttled=False
        )
        stolen(loaded)
        with pytest.raises(OwnedByAnother, match="no longer owns"):
            carry_range(Stores.one(loaded.store), late, WHOLE_RING, 1)
    assert ("a003",) in loaded.read("articles_v2")
    assert list(read_dead_letters(loaded.store, loaded.migration.id)) == []


def test_a_task_of_a_rollback_empties_no_table_that_has_become_live(switched):
    """The alias is back at the old table, whose rows the new one lacks: they are articles, and no orphans any more."""
    for number in range(20):
        switched.delete("articles_v2", {"id": f"a{number:03}"})
    with held(switched.store, switched.migration, switched.settings.cutover.lease) as lease:
        late = transfer_of(
            switched.settings,
            switched.store,
            switched.migration,
            "back/9",
            backwards=True,
            owner=lease.owner,
            throttled=False,
        )
        switched.move(switched.migration.source, lease=lease, reason="rollback")
        before = switched.read("articles")
        with pytest.raises(OwnedByAnother, match="moved while a task was about to delete rows of articles"):
            carry_range(Stores.one(switched.store), late, WHOLE_RING, 1)
    assert switched.read("articles") == before


def test_articles_drop_looks_once_more_before_it_drops(switched, monkeypatch):
    switched.step("retire")
    check = embedshift.articles.drop.check_other_aliases

    def moved(*arguments: object) -> None:
        check(*arguments)
        alias = get_alias(switched.store, "articles")
        switched.move(alias.target, reason="reindex")

    monkeypatch.setattr(embedshift.articles.drop, "check_other_aliases", moved)
    with pytest.raises(RefusedError, match="decide again"):
        embedshift.articles.drop.drop(switched.settings, switched.store, None)
    assert len(switched.read("articles_v2")) == 30


def test_a_task_does_nothing_to_a_table_that_was_created_anew_under_its_name(loaded):
    """Somebody drops the target by hand, and makes another one: what a task was planned for is gone."""
    loaded.delete("articles", {"id": "a003"})
    with held(loaded.store, loaded.migration, loaded.settings.cutover.lease) as lease:
        late = transfer_of(
            loaded.settings, loaded.store, loaded.migration, "sync/9", owner=lease.owner, throttled=False
        )
        described = loaded.store.describe("articles_v2")
        loaded.store.drop("articles_v2")
        loaded.store.create(described)
        carry_range(Stores.one(loaded.store), late, WHOLE_RING, 1)
    (record,) = read_ranges(loaded.store, loaded.migration.id, "sync/9")
    assert record.state == "failed"
    assert "articles_v2 was created anew since this run began" in record.error
    assert loaded.read("articles_v2") == {}


def test_an_alias_never_moves_to_a_table_that_is_being_dropped(switched):
    with held(switched.store, switched.migration, switched.settings.cutover.lease):
        assert close_table(switched.store, "articles") == frozenset()
        with pytest.raises(RefusedError, match="articles is being dropped"):
            switched.move(switched.migration.source)
    assert switched.alias.target.table == "articles_v2"
    reopen_table(switched.store, "articles")
    assert switched.move(switched.migration.source).target.table == "articles"


def test_a_table_that_an_alias_is_about_to_move_to_is_dropped_only_once_that_alias_cannot(switched):
    """A mover was killed, or sleeps, between the entry and its move: whoever drops the table takes its claim away."""
    claim = claim_alias(switched.store, "articles", switched.migration.id)
    use_table(switched.store, "articles", "articles")
    switched.step("retire")
    assert not switched.store.exists("articles")
    with pytest.raises(RefusedError):
        move_alias(switched.store, None, claim, switched.migration.source, migration="", reason="late")
    assert switched.alias.target.table == "articles_v2"
