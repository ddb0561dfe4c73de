"""A cutover at a time, at a word, and one that goes back where it fails behind the switch."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

import embedshift.steps.cutover
from embedshift.catalog.signals import GO, HOLD, read_signal, send
from embedshift.errors import CheckFailed, RefusedError, UsageError
from embedshift.steps.cutover import release_cutover
from embedshift.steps.cutover_trigger import AtTime
from embedshift.times import parse_at, parse_since
from tests.world import World, eventually, now_us


def later(seconds: float) -> str:
    return (datetime.now().astimezone() + timedelta(seconds=seconds)).isoformat()


def insert(world: World, name: str) -> None:
    world.write("articles", {"id": name, "title": (name, now_us()), "content": ("written while waiting", now_us())})


def test_until_its_time_the_target_is_kept_ready(loaded):
    loaded.step("validate")
    insert(loaded, "early")
    wanted = now_us() + 8_000_000
    result = loaded.step("cutover", at=later(8))
    assert result["alias"]["after"] == "articles_v2"
    assert loaded.alias.moved_us >= wanted
    # What was written before the time was carried, and proven: without a drift allowed only a new validation does that.
    loaded.assert_migrated()
    assert ("early",) in loaded.read("articles_v2")


def go(world: World) -> dict[str, Any]:
    return world.run(release_cutover)


class Operator(threading.Thread):
    """Someone at another terminal: writes, sees it carried while the cutover waits, and releases the cutover."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.alias_before = ""

    def run(self) -> None:
        eventually(lambda: read_signal(self.world.store, self.world.migration.id, HOLD), deadline_s=120)
        insert(self.world, "meanwhile")
        eventually(lambda: ("meanwhile",) in self.world.read("articles_v2"), deadline_s=120)
        self.alias_before = self.world.alias.target.table
        go(self.world)


def test_a_held_cutover_waits_for_release_and_carries_what_came_meanwhile(loaded):
    loaded.with_settings(cutover={"keep_ready": "100ms", "hold": "120s"})
    loaded.step("validate")
    with pytest.raises(RefusedError, match="no cutover of articles-to-articles_v2 is waiting for release"):
        go(loaded)
    # A word of long ago is none for this cutover.
    send(loaded.store, loaded.migration.id, GO)
    operator = Operator(loaded)
    operator.start()
    loaded.step("cutover", hold=True)
    operator.join(120)
    assert operator.alias_before == "articles"
    assert loaded.alias.target.table == "articles_v2"
    loaded.assert_migrated()
    for word in (HOLD, GO):
        assert read_signal(loaded.store, loaded.migration.id, word) is None


def test_a_cutover_does_not_wait_for_ever(loaded):
    loaded.with_settings(cutover={"hold": "100ms"})
    loaded.step("validate")
    with pytest.raises(CheckFailed, match="no release came within 100ms; nothing was switched"):
        loaded.step("cutover", hold=True)
    assert loaded.alias.target.table == "articles"
    assert read_signal(loaded.store, loaded.migration.id, HOLD) is None
    loaded.step("cutover")


def test_what_waits_is_proven_before_it_waits(loaded):
    loaded.step("validate")
    loaded.with_settings(validation={"max_age": "1ms"}, sync={"shadowed": "report"})
    loaded.delete("articles_v2", {"id": "a004"})
    with pytest.raises(CheckFailed, match="validation of articles_v2 failed"):
        loaded.step("cutover", hold=True)
    assert loaded.moves == [("created", "articles")]


def failing_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look through the alias fails: what comes after the switch, before the end."""

    def fail(*arguments: Any) -> None:
        if world.alias.target.table == "articles_v2":
            raise CheckFailed("the index of articles_v2 does not find what is there")

    monkeypatch.setattr(embedshift.steps.cutover, "check_index_answers", fail)


def test_a_failure_behind_the_switch_goes_back_where_that_is_asked_for(loaded, monkeypatch):
    loaded.step("validate")
    failing_once(loaded, monkeypatch)
    with pytest.raises(CheckFailed, match=r"alias is back at articles \(the index of articles_v2 does not find"):
        loaded.step("cutover", or_rollback=True)
    assert loaded.migration.state == "rolled_back"
    assert loaded.moves == [("created", "articles"), ("cutover", "articles_v2"), ("rollback", "articles")]
    monkeypatch.undo()
    loaded.steps("sync", "validate", "cutover")
    loaded.assert_migrated()


def test_without_that_it_goes_on_forward(loaded, monkeypatch):
    loaded.step("validate")
    failing_once(loaded, monkeypatch)
    with pytest.raises(CheckFailed, match="does not find what is there"):
        loaded.step("cutover")
    assert (loaded.migration.state, loaded.alias.target.table) == ("switching", "articles_v2")
    monkeypatch.undo()
    # There is nothing left to wait for.
    loaded.step("cutover", hold=True)
    assert loaded.migration.state == "switched"
    assert loaded.moves == [("created", "articles"), ("cutover", "articles_v2")]


def test_a_failure_before_the_switch_is_no_reason_to_go_back(loaded):
    loaded.step("validate")
    insert(loaded, "unproven")
    with pytest.raises(RefusedError, match="has changed since it was validated"):
        loaded.step("cutover", or_rollback=True)
    assert loaded.moves == [("created", "articles")]
    assert loaded.migration.state == "validated"


def test_the_plan_names_time_and_way_back(loaded):
    loaded.step("validate")
    plan = loaded.step("cutover", dry_run=True, at="02:30", or_rollback=True)["plan"]
    assert plan[0].startswith("1. sync and validate, and keep articles_v2 ready, until 20")
    assert plan[0].endswith(" 02:30")
    assert plan[-1] == "8. if anything fails after the move: rollback to articles"
    assert loaded.alias.target.table == "articles"


def test_a_time_and_a_hold_exclude_each_other(loaded):
    loaded.step("validate")
    with pytest.raises(UsageError, match="not for both"):
        loaded.step("cutover", at="02:30", hold=True)


def test_times_are_read_as_the_clock_on_the_wall_has_them():
    now = datetime.now().astimezone()
    for text in ("02:30", "23:59", "00:00:30"):
        moment = parse_at(text)
        assert now < moment <= now + timedelta(days=1, hours=1)
        assert moment.strftime("%H:%M:%S").startswith(text)
    assert parse_at("2999-01-02T03:04").strftime("%Y-%m-%d %H:%M") == "2999-01-02 03:04"
    for wrong in ("2:30pm", "25:00", "soon", "", "2020-01-01T00:00"):
        with pytest.raises(UsageError) as caught:
            parse_at(wrong)
        assert caught.value.hint


def test_the_last_round_before_a_time_fits_into_what_is_left():
    start = AtTime(later(100))
    assert start.rest_s(10) == pytest.approx(80, abs=1)
    assert start.rest_s(60) == pytest.approx(100, abs=1)
    assert not start.wait(0)
    over = AtTime(later(0.2))
    began = time.monotonic()
    assert over.wait(60)
    assert time.monotonic() - began < 30


def test_since_is_a_span_or_a_time():
    assert now_us() - parse_since("2h") == pytest.approx(7_200_000_000, abs=5_000_000)
    assert parse_since("2020-01-01T00:00+00:00") == 1_577_836_800_000_000
    for wrong in ("yesterday", "", "2999-01-01"):
        with pytest.raises(UsageError) as caught:
            parse_since(wrong)
        assert caught.value.hint
