"""One switch, and proof before it: who may move the alias, and after which validation. Invariants 5, 6 and 7."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from embedshift.articles.search import search
from embedshift.catalog.alias import get_alias
from embedshift.catalog.validations import last_validation
from embedshift.errors import CheckFailed, RefusedError, StateError
from tests.world import World, now_us


def refused(world: World, word: str) -> None:
    """The cutover is refused, exit 4, and the alias stays."""
    with pytest.raises(RefusedError, match=word) as caught:
        world.step("cutover")
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert world.alias.target.table == "articles"
    assert world.moves == [("created", "articles")]
    assert world.migration.owner == ""


def test_proof_before_switch_without_a_validation_there_is_none(loaded):
    refused(loaded, "run embedshift validate")


def test_proof_before_switch_a_validation_that_failed_is_none_however_often_one_asks(loaded):
    """block/spirit #882: resuming after a failed check skipped the check."""
    loaded.delete("articles_v2", {"id": "a004"})
    with pytest.raises(CheckFailed, match=r"validation of articles_v2 failed: rows, missing"):
        loaded.step("validate")
    for _ in range(2):
        refused(loaded, r"did not pass \(rows, missing\): .*run embedshift sync.*; then embedshift validate")
    proof = last_validation(loaded.store, loaded.migration.id)
    assert proof is not None
    assert not proof.passed
    # A newer failure counts more than an older success.
    loaded.with_settings(sync={"shadowed": "overwrite"})
    loaded.steps("sync", "validate")
    loaded.delete("articles_v2", {"id": "a005"})
    with pytest.raises(CheckFailed):
        loaded.step("validate")
    refused(loaded, "then embedshift validate")


def test_proof_before_switch_questions_that_nobody_can_judge_fail_their_check(loaded, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"id": "q1", "text": "bread", "relevant": {"elsewhere": 1}}\n', encoding="utf-8")
    loaded.with_settings(validation={"questions": str(questions)})
    with pytest.raises(CheckFailed, match=r"failed: relevance_ndcg_at_10: .*label more \(see "):
        loaded.step("validate")
    loaded.step("report")


def test_proof_before_switch_an_old_validation_is_none(loaded):
    loaded.step("validate")
    loaded.with_settings(validation={"max_age": "1ms"})
    refused(loaded, r"the validation of articles_v2 is \d+ s old, more than 1ms")
    loaded.with_settings(validation={"max_age": "1h"})
    loaded.step("cutover")
    assert loaded.alias.target.table == "articles_v2"


def change_source(world: World) -> None:
    world.write("articles", {"id": "a004", "content": ("changed after the validation", now_us())})


def insert(world: World) -> None:
    world.write("articles", {"id": "new", "title": ("new", now_us())})


def delete(world: World) -> None:
    world.delete("articles", {"id": "a004"})


def other_vector(world: World) -> None:
    vector = np.ones(40, np.float32) / np.sqrt(40)
    world.write("articles_v2", {"id": "a004", "embedding": (vector.tolist(), now_us())})


@pytest.mark.parametrize("change", [change_source, insert, delete, other_vector], ids=lambda change: change.__name__)
def test_proof_before_switch_of_that_very_content(loaded, change):
    loaded.step("validate")
    change(loaded)
    refused(loaded, "articles_v2 has changed since it was validated")
    refused(loaded, "articles_v2 has changed since it was validated")


def test_proof_before_switch_a_busy_table_may_drift_by_a_share_if_every_row_compares_well(loaded):
    loaded.step("validate")
    loaded.with_settings(cutover={"drift": 0.05})
    change_source(loaded)
    insert(loaded)
    refused(loaded, "2 of 30 rows")
    loaded.with_settings(cutover={"drift": 0.1})
    loaded.step("cutover")
    loaded.assert_migrated()
    assert loaded.alias.target.table == "articles_v2"


def test_proof_before_switch_a_drift_to_the_worse_is_refused(loaded):
    loaded.step("validate")
    loaded.with_settings(cutover={"drift": 0.1})
    vector = np.zeros(40, np.float32)
    vector[0] = 3
    loaded.write("articles_v2", {"id": "a004", "embedding": (vector.tolist(), now_us())})
    refused(loaded, "and now fails: mixed, unit_norm")


def test_a_validation_that_passes_again_lets_the_cutover_through(loaded):
    loaded.step("validate")
    change_source(loaded)
    refused(loaded, "has changed")
    loaded.steps("sync", "validate", "cutover")
    loaded.assert_migrated()


def test_a_dry_run_says_in_order_what_a_cutover_would_do_and_does_nothing(loaded):
    loaded.step("validate")
    plan = loaded.step("cutover", dry_run=True)["plan"]
    assert [line[:2] for line in plan] == [f"{number}." for number in range(1, len(plan) + 1)]
    assert "move the alias articles from articles" in plan[2]
    assert loaded.alias.target.table == "articles"
    assert loaded.migration.state == "validated"
    loaded.with_settings(validation={"max_age": "1ms"})
    with pytest.raises(RefusedError, match="s old"):
        loaded.step("cutover", dry_run=True)


def test_one_switch_of_two_cutovers_at_once_exactly_one_moves_the_alias(loaded):
    """Two processes, each with a Spark session of its own."""
    loaded.step("validate")
    processes = [loaded.start("cutover") for _ in range(2)]
    outcomes = sorted((process.wait(300), *process.communicate()) for process in processes)
    assert [code for code, _, _ in outcomes] == [0, 4], outcomes
    (line,) = [each for each in outcomes[1][2].splitlines() if each.startswith("embedshift: ")]
    assert any(word in line for word in ("is owned by", "was just taken by", "is switched")), line
    assert loaded.alias.version == 2
    assert loaded.moves == [("created", "articles"), ("cutover", "articles_v2")]
    loaded.assert_migrated()


def test_one_switch_an_alias_that_somebody_else_moved_is_left_alone(loaded):
    loaded.step("validate")
    elsewhere = replace(loaded.alias.target, table="elsewhere")
    loaded.move(elsewhere)
    with pytest.raises(RefusedError, match="the alias articles points to elsewhere"):
        loaded.step("cutover")
    assert loaded.alias.target.table == "elsewhere"


def test_one_switch_readers_never_see_a_table_with_the_model_of_the_other(loaded):
    """A reader asks all the time, while the alias moves there and back: every answer is that of one pair."""
    loaded.step("validate")
    question = loaded.text(("a011",), loaded.read("articles")[("a011",)]) or ""
    stop, answers, errors = threading.Event(), set[str](), list[BaseException]()

    def read() -> None:
        try:
            while not stop.is_set():
                alias = get_alias(loaded.store, "articles")
                hits = search(loaded.store, alias, question, 1)
                assert (hits[0].id, round(hits[0].score, 3)) == ("a011", 1.0)
                answers.add(alias.target.table)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        loaded.steps("cutover", "rollback")
    finally:
        stop.set()
        thread.join(60)
    assert errors == []
    assert answers == {"articles", "articles_v2"}


# The way back.


def test_the_way_back_is_open_and_no_write_since_the_cutover_is_lost(switched):
    model = switched.migration.target.model
    now = now_us()
    new = {"id": "new", "title": ("new", now), "content": ("application", now)}
    changed = {"id": "a002", "title": ("changed", now), "content": ("application", now)}
    switched.write("articles_v2", *switched.embedded(model, new, changed))
    switched.write("articles_v2", {"id": "a003", "title": (None, now)})
    switched.delete("articles_v2", {"id": "a004"})
    switched.step("rollback")
    rows = switched.read("articles")
    assert rows[("new",)]["content"][:2] == ("application", now)
    assert rows[("a002",)]["title"][:2] == ("changed", now)
    assert "title" not in rows[("a003",)]
    assert ("a004",) not in rows
    assert len(rows) == 30
    switched.assert_embedded("articles", switched.migration.source.model)
    assert switched.alias.target.table == "articles"


def test_a_dry_run_of_sync_and_rollback_says_how_many_rows_would_travel(loaded):
    change_source(loaded)
    loaded.delete("articles", {"id": "a005"})
    before = loaded.read("articles_v2")
    found = loaded.step("sync", dry_run=True)
    assert (found["read"], found["written"], found["deleted"]) == (29, 1, 1)
    assert loaded.read("articles_v2") == before
    loaded.steps("sync", "validate", "cutover")
    now = now_us()
    loaded.write("articles_v2", {"id": "new", "title": ("new", now), "content": ("bread", now)})
    loaded.delete("articles_v2", {"id": "a006"})
    old = loaded.read("articles")
    found = loaded.step("rollback", dry_run=True)
    # The new one, and a004: whoever changed its text there left it the vector of the old text.
    assert (found["written"], found["deleted"]) == (2, 1)
    assert loaded.read("articles") == old
    assert loaded.migration.state == "switched"


def test_the_way_back_keeps_what_late_clients_wrote_to_the_old_table(switched):
    model = switched.migration.source.model
    row = {"id": "late", "title": ("new", now_us()), "content": ("application", now_us())}
    switched.write("articles", *switched.embedded(model, row))
    switched.step("rollback")
    assert ("late",) in switched.read("articles")


def test_after_a_switch_a_row_that_only_the_new_table_has_is_no_orphan(switched):
    """Sync may run once more after the switch, and must not take a new article for an orphan."""
    model = switched.migration.target.model
    row = {"id": "new", "title": ("new", now_us()), "content": ("application", now_us())}
    switched.write("articles_v2", *switched.embedded(model, row))
    switched.delete("articles", {"id": "a009"})
    switched.step("sync")
    rows = switched.read("articles_v2")
    assert ("new",) in rows
    assert ("a009",) not in rows
    assert switched.migration.state == "switched"


def test_a_deletion_in_the_new_table_after_the_switch_does_not_keep_sync_busy_for_ever(switched):
    """Invariant 13: what the old table still has is shadowed by a newer deletion: counted, and not written again."""
    switched.delete("articles_v2", {"id": "a009"})
    switched.write("articles_v2", {"id": "a010", "title": (None, now_us())})
    result = switched.step("sync")
    assert result["clean"]
    assert result["shadowed"] == 2
    rows = switched.read("articles_v2")
    assert ("a009",) not in rows
    assert "title" not in rows[("a010",)]


def test_the_way_back_builds_the_index_of_the_old_table_if_there_is_none(switched):
    switched.store.drop_index(switched.migration.source.index)
    switched.step("rollback")
    assert switched.alias.target.table == "articles"
    assert switched.store.index_state(switched.migration.source.index).status == "serving"


def test_retire_waits_for_the_grace_time_and_for_the_name(switched):
    switched.with_settings(retire={"after": "1h"})
    with pytest.raises(RefusedError, match=r"articles is kept for 1h after the cutover, \d+ s more"):
        switched.step("retire")
    switched.with_settings(retire={"after": "0s"})
    with pytest.raises(RefusedError, match="its name was not typed"):
        switched.step("retire", confirm=lambda table: table[:-1])
    assert switched.step("retire", dry_run=True)["dry_run"]
    assert switched.store.exists("articles")
    switched.step("retire", confirm=lambda table: table)
    assert not switched.store.exists("articles")
    assert switched.step("retire")["state"] == "retired"


def test_retire_never_drops_the_table_that_an_alias_names(switched):
    from embedshift.catalog.alias import create_alias

    create_alias(switched.store, "archive", switched.migration.source)
    with pytest.raises(RefusedError, match="articles is live: the alias archive names it"):
        switched.step("retire")
    assert switched.store.exists("articles")


@pytest.mark.parametrize("step", ["load", "index", "validate", "cutover"])
def test_after_the_switch_no_step_goes_back_over_the_live_table(switched, step):
    with pytest.raises(StateError, match=f"{step} may not run"):
        switched.step(step)
