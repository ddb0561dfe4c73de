"""What an operator says to a running migration from another terminal: pause, resume, throttle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import embedshift.steps.cutover
from embedshift.catalog.ranges import progress
from embedshift.catalog.signals import STEP
from embedshift.catalog.tables import CONTROL, MIGRATION
from embedshift.catalog.throttle import read_published
from embedshift.errors import OwnedByAnother
from embedshift.operations import throttle as operations
from tests.world import World, eventually, some_articles

pytestmark = pytest.mark.alone

#: Five seconds is what is promised; a busy machine may take longer.
PROMISED_S, BUSY_S = 5, 10
#: No row for so long: at thirty rows a second none is under way any more.
QUIET_S = 6


def say(world: World, what: str, **options: Any) -> dict[str, Any]:
    """What an operator says, through a store of their own in effect: nothing but the catalog is shared with tasks."""
    return world.run(getattr(operations, what), **options)


def shown(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.step("status")["migration"]["throttle"]
    return found


def rows(world: World) -> int:
    return world.store.estimate("articles_v2").rows


def waits(world: World) -> str:
    state = read_published(world.store, world.migration.id, world.migration.owner)
    return state.wait if state else ""


class Operator(threading.Thread):
    """Someone at another terminal while a step runs here."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self.error = error

    def __enter__(self) -> Operator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join(300)
        if self.error is not None:
            raise self.error


def prepared(new_world: Callable[..., World], count: int, ranges: int, **throttle: Any) -> World:
    world = new_world(load={"ranges": ranges, "window_rows": 64}, throttle=throttle)
    world.create_source(some_articles(count))
    world.step("prepare")
    return world


def test_a_load_pauses_within_seconds_stays_paused_in_the_next_run_and_goes_on(new_world, spark):
    world = prepared(new_world, 240, 12, rows_per_second=30)
    seen: dict[str, Any] = {}

    def pause() -> None:
        eventually(lambda: progress(world.store, world.migration.id, "load").done)
        say(world, "pause")
        began = changed = time.monotonic()
        before = rows(world)

        def quiet() -> bool:
            nonlocal before, changed
            if (found := rows(world)) != before:
                before, changed = found, time.monotonic()
            return time.monotonic() - changed > QUIET_S

        eventually(quiet, every_s=0.1)
        seen.update(rows=before, stopped_s=changed - began, shown=shown(world))
        # This run is ended, as by an operator or a crash: its tasks, which wait, must not hang for ever.
        world.store.records.update_if(MIGRATION, {"id": world.migration.id}, {"owner": "another"}, {})

    with Operator(pause), pytest.raises(OwnedByAnother):
        world.step("load")
    assert seen["stopped_s"] < PROMISED_S + BUSY_S
    assert 0 < seen["rows"] < 240
    assert seen["shown"]["reason"].startswith("paused by ")
    assert seen["shown"]["paused"]["by"].count("@") == 1
    assert seen["shown"]["limits"]["rows_per_second"] == 30

    def resume() -> None:
        eventually(lambda: waits(world).startswith("paused by"))
        seen["again"] = rows(world)
        say(world, "throttle", off=True)
        say(world, "resume")

    world.store.records.update_if(MIGRATION, {"id": world.migration.id}, {"owner": "", "lease_until_us": 0}, {})
    with Operator(resume):
        assert world.step("load")["rows"] == 240
    assert seen["again"] == seen["rows"]
    world.assert_migrated()
    # Of the run's own words only the step stays, which it was at.
    assert {row["name"] for row in world.store.records.select(CONTROL, {})} == {"throttle", STEP}


def hours(first: timedelta, last: timedelta) -> str:
    now = datetime.now().astimezone()
    return f"{now + first:%H:%M}-{now + last:%H:%M}"


def test_a_load_waits_for_its_hours_and_then_two_workers_share_one_rate(new_world, spark):
    rate, count = 40, 280
    closed = hours(timedelta(hours=2), timedelta(hours=3))
    world = prepared(new_world, count, 8, between=closed)
    counted: list[tuple[float, int]] = []
    seen: dict[str, Any] = {}

    def open_and_count() -> None:
        eventually(lambda: waits(world))
        seen["reason"], seen["rows"] = shown(world)["reason"], rows(world)
        say(world, "throttle", rows_per_second=rate)
        say(world, "throttle", between=hours(timedelta(hours=-1), timedelta(hours=1)))
        while rows(world) < count:
            if found := rows(world):
                counted.append((time.monotonic(), found))
            time.sleep(0.1)
        counted.append((time.monotonic(), count))

    with Operator(open_and_count):
        world.step("load")
    assert seen == {"reason": f"outside {closed}, continues at {closed[:5]}", "rows": 0}
    began, first = counted[0]
    # Never more than the rate, in any four seconds; of being slower a busy machine may be the reason.
    for at, (start, before) in enumerate(counted):
        passed = next(((end, after) for end, after in counted[at:] if end - start >= 4), None)
        if passed:
            assert passed[1] - before <= 1.2 * rate * (passed[0] - start)
    assert (count - first) / (counted[-1][0] - began) > 0.5 * rate
    world.assert_migrated()


def test_writers_slow_down_for_the_stores_latency_and_say_so(new_world, spark):
    # At a rate at which the load lasts long enough for the writers to have learnt.
    world = prepared(new_world, 400, 4, max_latency="0.01ms", rows_per_second=30)
    seen: dict[str, Any] = {}

    def look() -> None:
        seen["throttle"] = eventually(lambda: (found := shown(world))["slowed"] and found)
        say(world, "throttle", off=True)

    with Operator(look):
        world.step("load")
    assert seen["throttle"]["reason"].startswith("slowed: p99 of writes ")
    assert seen["throttle"]["reason"].endswith(" ms > 0.01 ms")
    world.assert_migrated()


def test_a_pause_holds_a_cutover_before_the_switch_and_never_behind_it(new_world, spark, monkeypatch):
    world = new_world()
    world.create_source(some_articles(20))
    world.steps("prepare", "load", "sync", "index", "sync", "validate")
    say(world, "pause")
    move = embedshift.steps.cutover.move_alias

    def move_and_pause(*arguments: Any, **options: Any) -> Any:
        moved = move(*arguments, **options)
        say(world, "pause")
        return moved

    monkeypatch.setattr(embedshift.steps.cutover, "move_alias", move_and_pause)
    seen: dict[str, str] = {}

    def resume() -> None:
        eventually(lambda: waits(world))
        seen["table"] = world.alias.target.table
        say(world, "resume")

    with Operator(resume):
        world.step("cutover")
    assert seen["table"] == "articles"
    assert world.migration.state == "switched"
    assert shown(world)["paused"]
    world.step("rollback")
    assert world.migration.state == "rolled_back"
