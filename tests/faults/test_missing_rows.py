"""A row that one table lacks was deleted there, or is new in the other: what is known decides. Invariants 7 and 13.

Plain writers know no alias; they write one table with their clock's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from embedshift import Articles
from embedshift.articles.delete import add_soft_delete
from embedshift.catalog.dead_letters import DeadLetter, read_dead_letters, write_dead_letters
from embedshift.catalog.ledger import Entry, confirm, enter, known_in_both
from embedshift.errors import RefusedError, StoreUnavailable
from embedshift.spark.stores import Stores
from embedshift.spark.task import carry_range
from embedshift.spark.transfer import transfer_in_place
from embedshift.stores import open_store
from embedshift.tokens import WHOLE_RING
from tests.world import DIGEST, HOUR_US, World, now_us


def written(world: World, table: str, name: str, *, at_us: int | None = None) -> int:
    """A row from a plain writer, with the vector of its text. Returns its write time."""
    at_us = at_us or now_us()
    source, target = world.migration.source, world.migration.target
    model = source.model if table == source.table else target.model
    row = {"id": name, "title": ("Salt", at_us), "content": ("keeps bread", at_us)}
    world.write(table, *world.embedded(model, row))
    return at_us


def has(world: World, table: str, name: str) -> bool:
    return (name,) in world.read(table)


def test_a_row_carried_back_and_then_deleted_in_the_live_table_does_not_come_back(switched):
    """Inserted after the cutover, carried by the first pass of a rollback, deleted before the alias moves."""
    written(switched, "articles_v2", "new")
    switched.carry("back/1", backwards=True, read_back=True, owner=hold(switched), throttled=False)
    assert has(switched, "articles", "new")
    switched.delete("articles_v2", {"id": "new"})
    switched.step("rollback")
    assert not has(switched, "articles", "new")
    assert not has(switched, "articles_v2", "new")


def hold(world: World) -> str:
    """A run that has the migration, and does not renew its lease: it is over when a step takes it."""
    from embedshift.catalog.tables import MIGRATION

    owner = "somebody@elsewhere:1/abcdef"
    changes = {"owner": owner, "owned_since_us": now_us(), "lease_until_us": now_us()}
    assert world.store.records.update_if(MIGRATION, {"id": world.migration.id}, changes, {"owner": ""})
    return owner


def test_a_row_of_the_last_seconds_that_was_deleted_before_the_move_is_in_neither_table(loaded, monkeypatch):
    """A plain writer inserts just before the switch, and deletes between the last pass and the move."""
    from embedshift.steps import cutover

    loaded.with_settings(sync={"clock_skew": "10s"})
    written(loaded, "articles", "young")
    loaded.step("sync")
    loaded.step("validate")
    move = cutover.move_alias

    def late(*arguments, **options):
        loaded.delete("articles", {"id": "young"})
        return move(*arguments, **options)

    monkeypatch.setattr(cutover, "move_alias", late)
    loaded.step("cutover")
    assert not has(loaded, "articles_v2", "young")


def test_a_row_of_somebody_else_that_only_one_table_has_stays(switched):
    """What a program that knows no alias writes into the old table is there again after a rollback."""
    written(switched, "articles", "stray")
    switched.step("rollback")
    assert has(switched, "articles", "stray")


def test_a_row_that_a_client_wrote_to_both_and_a_plain_writer_deleted_in_the_live_one_stays_deleted(switched):
    with Articles.open(switched.config) as articles:
        articles.add({"id": "new", "title": "Salt", "content": "keeps bread"})
    assert has(switched, "articles", "new")
    switched.delete("articles_v2", {"id": "new"})
    switched.step("rollback")
    assert not has(switched, "articles", "new")


def test_a_row_hidden_by_a_newer_deletion_is_never_deleted_at_its_source(switched):
    """It was acknowledged there and was never there, so its absence says nothing of the table that it came from."""
    at_us = now_us()
    switched.delete("articles", {"id": "hidden"}, at_us=at_us + 1_000_000)
    written(switched, "articles_v2", "hidden", at_us=at_us)
    switched.step("rollback")
    assert has(switched, "articles_v2", "hidden")


def test_a_row_that_is_hidden_in_the_live_table_stays_where_it_came_from(switched):
    """Somebody who does not know of the switch wrote it; below a newer deletion it never was in the live table."""
    at_us = written(switched, "articles", "stray")
    switched.delete("articles_v2", {"id": "stray"}, at_us=at_us + 1)
    switched.step("sync")
    assert not has(switched, "articles_v2", "stray")
    switched.step("rollback")
    assert has(switched, "articles", "stray")


def test_a_delete_after_a_failed_touch_stays_a_delete(switched):
    """The client reaches the live table alone, twice; what it did last is what the old table gets on the way back."""
    with Articles.open(switched.config) as articles:
        articles.add({"id": "new", "title": "Salt", "content": "keeps bread"})
    with reaching_one_table(switched) as articles:
        articles.update("new", title="Sea salt")
        articles.delete("new")
    (letter,) = [each for each in read_dead_letters(switched.store, switched.migration.id) if "new" in each.id]
    assert letter.deletes
    assert letter.of_way_back
    assert has(switched, "articles", "new")
    switched.step("rollback")
    assert not has(switched, "articles", "new")
    assert [each for each in read_dead_letters(switched.store, switched.migration.id) if "new" in each.id] == []


@contextmanager
def reaching_one_table(world: World) -> Iterator[Articles]:
    """A client for which the old table does not answer."""
    with closing(open_store(world.settings.store)) as store:
        write, delete = store.write, store.delete

        def away(table):
            if table.name == "articles":
                raise StoreUnavailable("the old table does not answer")

        store.write = lambda table, rows: away(table) or write(table, rows)
        store.delete = lambda table, keys, times: away(table) or delete(table, keys, times)
        with Articles(world.settings, store) as articles:
            yield articles


def test_an_article_that_was_restored_stays_active_although_the_second_table_was_out_of_reach(switched):
    """Restoring deletes one cell. The old table keeps it, and the way back must not bring it with it."""
    add_soft_delete(switched.settings, switched.store)
    with Articles.open(switched.config) as articles:
        articles.add({"id": "new", "title": "Salt", "content": "keeps bread"})
        articles.deactivate("new")
    with reaching_one_table(switched) as articles:
        articles.restore("new")
    switched.step("rollback")
    with Articles.open(switched.config) as articles:
        assert articles.get("new")["deactivated_at"] is None
        assert articles.search("keeps bread", 50)[0].id == "new"


def test_a_value_that_was_deleted_in_the_live_table_does_not_come_back(switched):
    with Articles.open(switched.config) as articles:
        articles.add({"id": "new", "title": "Salt", "content": "keeps bread"})
    now = now_us()
    switched.write("articles_v2", {"id": "new", "title": (None, now), "content": ("is white", now)})
    switched.step("rollback")
    assert "title" not in switched.read("articles")["new",]
    assert switched.read("articles")["new",]["content"][0] == "is white"


def test_a_row_that_was_deleted_and_written_again_has_nothing_of_its_former_self(switched):
    with Articles.open(switched.config) as articles:
        articles.add({"id": "new", "title": "Salt", "content": "keeps bread"})
    switched.delete("articles_v2", {"id": "new"})
    switched.write("articles_v2", {"id": "new", "title": ("Sea salt", now_us())})
    switched.step("rollback")
    row = switched.read("articles")["new",]
    assert row["title"][0] == "Sea salt"
    assert "content" not in row


def test_a_letter_of_the_way_back_is_the_only_copy_and_is_spared_by_sync_and_abort(switched):
    written(switched, "articles_v2", "only")
    switched.step("rollback")
    # As after a rollback that tolerated a row which the old model cannot embed.
    switched.delete("articles", {"id": "only"})
    letter = DeadLetter('{"id": "only"}', WHOLE_RING, "back/1", "the model failed: ValueError", 1)
    write_dead_letters(switched.store, switched.migration.id, [letter])
    switched.step("sync")
    assert has(switched, "articles_v2", "only")
    with pytest.raises(RefusedError, match=r"articles_v2 has the only copy of 1 rows .* \{\"id\": \"only\"\}"):
        switched.step("abort")
    assert switched.store.exists("articles_v2")


def test_overwriting_what_is_hidden_does_not_undo_a_deletion_in_the_live_table(loaded, monkeypatch):
    """After the switch the target is live: who deletes there means it, whatever sync.shadowed says."""
    from embedshift.steps import cutover

    loaded.with_settings(sync={"shadowed": "overwrite"})
    written(loaded, "articles", "gone", at_us=now_us() - 60_000_000)
    loaded.step("sync")
    loaded.step("validate")
    move = cutover.move_alias

    def late(*arguments, **options):
        moved = move(*arguments, **options)
        loaded.delete("articles_v2", {"id": "gone"})
        return moved

    monkeypatch.setattr(cutover, "move_alias", late)
    loaded.step("cutover")
    assert not has(loaded, "articles_v2", "gone")


def test_retire_names_what_it_would_destroy(switched):
    written(switched, "articles", "stray")
    with pytest.raises(RefusedError, match="articles has 1 rows that were written to it since the cutover"):
        switched.step("retire")
    switched.step("sync")
    assert has(switched, "articles_v2", "stray")
    switched.step("retire")
    assert switched.migration.state == "retired"


def test_retire_discards_only_when_it_is_told_to(switched):
    letter = DeadLetter('{"id": "a001"}', WHOLE_RING, "load", "its vector is zero", 1)
    write_dead_letters(switched.store, switched.migration.id, [letter])
    with pytest.raises(RefusedError, match=r"articles has 1 rows that could not be carried to articles_v2, such as"):
        switched.step("retire")
    switched.step("retire", discard=True)
    assert not switched.store.exists("articles")


def test_the_ledger_knows_rows_by_their_write_time_and_where_they_were_seen(switched):
    migration, store = switched.migration.id, switched.store
    one, other = Entry('{"id": "a"}', 5_000_000), Entry('{"id": "b"}', 7_000_000)
    enter(store, migration, "articles_v2", [one, other])
    assert known_in_both(store, migration, "articles_v2", [one, other]) == [True, True]
    # Whether it arrived there is not known: on the other side it may be the only copy.
    assert known_in_both(store, migration, "articles", [one, other]) == [False, False]
    confirm(store, migration, [other])
    assert known_in_both(store, migration, "articles", [one, other]) == [False, True]
    # Written again since: another row.
    assert known_in_both(store, migration, "articles_v2", [Entry(one.id, 6_000_000)]) == [False]


def test_before_the_cutover_too_nothing_younger_than_the_pass_is_deleted_unless_it_is_known(loaded):
    loaded.with_settings(sync={"clock_skew": "1h"})
    written(loaded, "articles_v2", "young")
    written(loaded, "articles_v2", "old", at_us=now_us() - 2 * HOUR_US)
    written(loaded, "articles", "both")
    loaded.step("sync")
    assert has(loaded, "articles_v2", "both")
    loaded.delete("articles", {"id": "both"})
    loaded.step("sync")
    assert has(loaded, "articles_v2", "young")
    assert not has(loaded, "articles_v2", "old")
    assert not has(loaded, "articles_v2", "both")


def test_purge_deletes_the_version_that_it_has_judged(switched):
    """Another client restores and rewrites the article between the last look and the deletion."""
    add_soft_delete(switched.settings, switched.store)
    with Articles.open(switched.config) as other, closing(open_store(switched.settings.store)) as store:
        other.add({"id": "new", "title": "Salt", "content": "keeps bread"})
        other.deactivate("new")
        articles, delete, restored = Articles(switched.settings, store), store.delete, []

        def late(table, keys, times):
            if not restored:
                restored.append(other.restore("new"))
                other.update("new", title="Sea salt")
            return delete(table, keys, times)

        store.delete = late
        articles.purge(timedelta(0))
        assert restored == [None]
        assert other.get("new")["title"] == "Sea salt"
        assert other.get("new")["content"] == "keeps bread"


def test_a_row_whose_source_goes_while_it_is_compared_stays_if_it_is_newer_in_the_live_table(switched, monkeypatch):
    """Between two reads of a pass somebody who does not know of the switch deletes it in the old table."""
    early = now_us() - HOUR_US // 2
    switched.write("articles", {"id": "a003", "content": (None, early)})
    switched.write("articles_v2", {"id": "a003", "title": ("Sea salt", now_us())})
    fetch, gone = switched.store.fetch, []

    def late(table, keys, **columns):
        if table.name == "articles" and not gone:
            gone.append(switched.delete("articles", {"id": "a003"}, at_us=early + 1))
        return fetch(table, keys, **columns)

    monkeypatch.setattr(switched.store, "fetch", late)
    switched.carry("sync/9", read_back=True)
    assert gone == [None]
    assert switched.read("articles_v2")["a003",]["title"][0] == "Sea salt"


# What an attack found.


def poisoned(world: World) -> None:
    """A row at the source that the new model cannot embed, and a switch that tolerates it."""
    world.with_settings(load={"tolerate_dead": 5})
    early = now_us() - HOUR_US
    world.write("articles", {"id": "p", "title": ("Salt", early), "content": ("poison", early)})
    world.steps("sync", "validate", "cutover")
    assert not has(world, "articles_v2", "p")


def test_cells_of_which_the_old_table_has_the_only_copy_stay_on_the_way_back(loaded):
    poisoned(loaded)
    with Articles.open(loaded.config) as articles:
        articles.add({"id": "p", "title": "Sea salt"})
    loaded.step("rollback")
    assert loaded.read("articles")["p",]["content"][0] == "poison"
    assert loaded.read("articles")["p",]["title"][0] == "Sea salt"


def test_letters_of_both_directions_tell_of_one_row(loaded):
    """The row never arrived in the new table; then it was deleted there, and could not be deleted in the old one."""
    poisoned(loaded)
    with reaching_one_table(loaded) as articles:
        articles.add({"id": "p", "title": "Sea salt", "content": "keeps bread"})
        assert articles.delete("p")
    assert {each.of_way_back for each in read_dead_letters(loaded.store, loaded.migration.id)} == {False, True}
    loaded.step("rollback")
    assert not has(loaded, "articles", "p")


def test_retire_names_the_only_copy_whatever_a_client_could_not_write_since(loaded):
    poisoned(loaded)
    with reaching_one_table(loaded) as articles:
        articles.add({"id": "p", "title": "Sea salt"})
    with pytest.raises(RefusedError, match="rows that could not be carried to articles_v2"):
        loaded.step("retire")


def test_a_deletion_that_did_not_arrive_takes_the_old_cells_of_a_row_that_was_written_since(switched):
    with reaching_one_table(switched) as articles:
        articles.delete("a005")
    switched.write("articles", {"id": "a005", "content": ("of a stranger", now_us())})
    switched.step("rollback")
    row = switched.read("articles")["a005",]
    assert "title" not in row
    assert row["content"][0] == "of a stranger"


def test_a_row_of_nothing_but_its_key_is_as_young_as_its_digest(switched):
    model = switched.migration.target.model
    switched.write("articles_v2", {"id": "bare", DIGEST: (switched.digest(model.fingerprint, None), now_us())})
    switched.step("sync")
    assert has(switched, "articles_v2", "bare")


def test_retire_compares_from_before_the_switch_on_and_again_when_its_question_was_answered(loaded):
    loaded.with_settings(sync={"clock_skew": "10s"})
    loaded.steps("validate", "cutover")

    def answer(name: str) -> str:
        written(loaded, "articles", "stray", at_us=(loaded.migration.facts.switched_us or 0) - 3_000_000)
        return name

    with pytest.raises(RefusedError, match="articles has 1 rows that were written to it"):
        loaded.step("retire", confirm=answer)
    assert loaded.migration.state == "switched"
    assert has(loaded, "articles", "stray")


def repairing(world: World, meanwhile: Callable[[], object]) -> None:
    """Repair the live table in place; somebody does something after a row was read, and before it is written."""
    transfer = transfer_in_place(world.settings, world.store, world.alias.target, "audit/1")
    write, done = world.store.write, []

    def late(table, rows):
        if not done:
            done.append(meanwhile())
        return write(table, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store, "write", late)
        carry_range(Stores.one(world.store), transfer, WHOLE_RING, 1)
    assert done


def test_a_repair_gives_back_no_text_that_was_changed_meanwhile(switched):
    now = now_us()
    switched.write("articles_v2", {"id": "new", "title": ("Salt", now), "content": ("keeps bread", now)})
    with Articles.open(switched.config) as articles:
        repairing(switched, lambda: articles.update("new", title="Sea salt", content=None))
        assert articles.get("new")["title"] == "Sea salt"
        assert articles.get("new")["content"] is None


def test_a_repair_revives_no_article_that_was_deleted_meanwhile(switched):
    now = now_us()
    switched.write("articles_v2", {"id": "new", "title": ("Salt", now), "content": ("keeps bread", now)})
    repairing(switched, lambda: switched.delete("articles_v2", {"id": "new"}, at_us=now))
    assert not has(switched, "articles_v2", "new")
