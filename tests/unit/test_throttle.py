"""The parts of the throttle: hours, limits, states, the token bucket, the latency limiter. No test waits for time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.signals import Signal, read_signal, send, signals_under
from embedshift.catalog.tables import CONTROL, MIGRATION
from embedshift.catalog.throttle import (
    PAUSE,
    THROTTLE,
    Limits,
    ThrottleState,
    publish,
    read_published,
    reason_to_wait,
    report_free,
    report_slowed,
    throttle_line,
    throttle_state,
    withdraw,
)
from embedshift.cli.app import main
from embedshift.errors import OwnedByAnother, SettingsError
from embedshift.settings import StoreSettings, ThrottleSettings, parse_settings
from embedshift.spark.expiry import expiry_schema, with_expiries, with_ttls
from embedshift.spark.throttle import (
    LatencyLimiter,
    Throttle,
    ThrottleReader,
    TokenBucket,
    percentile_99,
    slower,
)
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.times import parse_window
from tests.world import World, some_articles

# Hours.

minutes = st.integers(0, 24 * 60 - 1)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@given(minutes, minutes, minutes)
def test_hours_cover_the_minutes_from_the_first_until_just_before_the_last(opens, closes, minute):
    if opens == closes:
        return
    covered = {each % 1440 for each in range(opens, closes if closes > opens else closes + 1440)}
    hours = parse_window(f"{clock(opens)}-{clock(closes)} UTC")
    moment = datetime(2026, 11, 26, minute // 60, minute % 60, 59, tzinfo=UTC)
    assert hours.is_open(moment) == (minute in covered)
    assert parse_window(str(hours)) == hours


def test_hours_go_by_the_clock_on_the_wall_also_where_summer_time_skips_or_repeats_one():
    hours = parse_window("02:30-04:00 Europe/Berlin")
    # 29 March 2026: at 01:00 UTC the clock goes from 02:00 to 03:00. 25 October: at 01:00 UTC from 03:00 to 02:00.
    spring, autumn = datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 10, 25, 0, 29, tzinfo=UTC)
    assert [hours.is_open(spring + timedelta(minutes=each)) for each in (0, 1, 60, 61)] == [False, True, True, False]
    assert [hours.is_open(autumn + timedelta(minutes=each)) for each in (0, 1, 30, 31, 61)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    night = parse_window("22:00-06:00 Europe/Berlin")
    for month, utc in ((1, 21), (7, 20)):
        assert night.is_open(datetime(2026, month, 10, utc, 0, tzinfo=UTC))
        assert not night.is_open(datetime(2026, month, 10, utc - 1, 59, tzinfo=UTC))


def test_hours_without_a_zone_are_those_of_the_machine(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_window("22:00-06:00").is_open(datetime(2026, 1, 10, 3, 0, tzinfo=UTC))
        assert not parse_window("22:00-06:00").is_open(datetime(2026, 1, 10, 2, 59, tzinfo=UTC))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "22-06", "25:00-06:00", "22:00-22:00", "22:00-06:00 Mars/North", "always"])
def test_what_is_no_span_of_hours_is_refused(text):
    with pytest.raises(ValueError, match=r"hours|begins|time zone"):
        parse_window(text)
    with pytest.raises(SettingsError, match=r"throttle\.between: "):
        parse_settings({**TREE, "throttle": {"between": text}})


TREE: dict[str, Any] = {
    "alias": "articles",
    "store": {"path": "any.sqlite"},
    "source": {"table": "articles", "model": {"name": "old"}},
    "target": {"table": "articles_v2"},
}


# Limits and throttle states.


def test_what_an_operator_said_goes_before_the_settings_key_by_key():
    settings = ThrottleSettings(rows_per_second=500, max_latency="30ms", between="22:00-6:00")
    assert Limits.of(None, settings) == Limits(500, 30, "22:00-06:00")
    said = Signal('{"rows_per_second": 50}', 0, "")
    assert Limits.of(said, settings) == Limits(50, 30, "22:00-06:00")
    off = Signal(json.dumps(dict.fromkeys(("rows_per_second", "max_latency_ms", "between"))), 0, "")
    assert Limits.of(off, settings) == Limits()
    assert Limits(1200, 30, "22:00-06:00").lines() == [
        "at most 1,200 rows/s",
        "p99 of writes at most 30 ms",
        "only 22:00-06:00",
    ]


@pytest.mark.parametrize("section", [{"rows_per_second": 0}, {"max_latency": 0}, {"rows_per_secnd": 3}])
def test_limits_that_make_no_sense_are_refused(section):
    with pytest.raises(SettingsError, match="throttle"):
        parse_settings({**TREE, "throttle": section})


def test_a_state_says_why_to_wait_and_each_tasks_share():
    noon = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    paused = Signal("", 1_764_158_400_000_000, "alice@host:4711")
    assert throttle_state(None, Limits(), noon, 3) == ThrottleState()
    assert throttle_state(None, Limits(300, 30), noon, 3) == ThrottleState("", 100, 30)
    assert reason_to_wait(paused, Limits(), noon) == "paused by alice@host since 2025-11-26T12:00:00Z"
    nightly = Limits(between="22:00-06:00 UTC")
    assert reason_to_wait(None, nightly, noon) == "outside 22:00-06:00 UTC, continues at 22:00"
    assert reason_to_wait(None, nightly, noon.replace(hour=23)) == ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(StoreSettings(path=tmp_path / "articles.sqlite"))) as store:
        ensure_catalog(store)
        yield store


def test_states_and_reports_are_signals_that_the_end_of_a_run_removes(store):
    assert read_published(store, "m", "me") is None
    publish(store, "m", "me", ThrottleState("paused by ann", 5, None))
    assert read_published(store, "m", "me") == ThrottleState("paused by ann", 5, None)
    assert read_published(store, "m", "the next run") is None
    report_slowed(store, "m", 48.2, 30)
    send(store, "m", PAUSE)
    (told,) = signals_under(store, "m", "slowed/").values()
    assert json.loads(told.text) == {"p99_ms": 48.2, "limit_ms": 30}
    report_free(store, "m")
    assert signals_under(store, "m", "slowed/") == {}
    report_slowed(store, "m", 48.2, 30)
    withdraw(store, "m")
    assert [row["name"] for row in store.records.select(CONTROL, {"migration": "m"})] == [PAUSE]


# The token bucket.


@given(st.floats(0.5, 5000), st.lists(st.integers(1, 500), min_size=1, max_size=30))
def test_a_bucket_never_lets_more_pass_than_the_rate_and_what_was_saved(rate, portions):
    bucket, now, passed = TokenBucket(), 0.0, 0
    for portion in portions:
        now += bucket.wait_s(now, rate)
        assert passed <= rate * (now + 0.25) + 1e-3
        bucket.owe(portion)
        passed += portion
    now += bucket.wait_s(now, rate)
    assert now == pytest.approx(passed / rate)


def test_a_bucket_forgets_its_debt_where_the_limit_is_lifted():
    bucket = TokenBucket()
    bucket.wait_s(0.0, 1.0)
    bucket.owe(1000)
    assert bucket.wait_s(10.0, 1.0) == 990
    assert bucket.wait_s(10.0, 99.0) == 10
    assert bucket.wait_s(10.0, None) == 0
    assert bucket.wait_s(10.0, 1.0) == 0


# The latency limiter.


def governed(latency: Callable[[float], float], limit_s: float, seconds: int = 200) -> Iterator[float]:
    """The rate of a writer of at most 1,000 rows/s, each tenth of a second, at a store whose latency is of the rate."""
    limiter = LatencyLimiter()
    for tick in range(seconds * 10):
        rate = limiter.rate or 1000.0
        rows = max(1, int(rate / 10))
        limiter.learn(tick / 10, [latency(rate)] * rows, rows, rows / 1000, limit_s)
        yield limiter.rate or 1000.0


def test_a_limiter_halves_the_rate_while_writes_are_slow_and_raises_it_by_steps():
    rates = list(governed(lambda rate: rate / 10_000, 0.03))
    # Writes are within 30 ms up to 300 rows/s.
    settled = rates[1000:]
    assert min(settled) >= 140
    assert max(settled) <= 330
    falls = [after / before for before, after in pairwise(settled) if after < before]
    rises = [after - before for before, after in pairwise(settled) if after > before]
    assert falls
    assert falls == pytest.approx([0.5] * len(falls))
    assert rises == pytest.approx([20] * len(rises))


def test_a_limiter_lets_go_once_writes_are_quick_again():
    slow_until = iter([True] * 300 + [False] * 2000)
    rates = list(governed(lambda _: 0.1 if next(slow_until) else 0.001, 0.03))
    assert min(rates) < 50
    assert rates[-1] == 1000


def test_a_limiter_without_a_limit_or_below_it_leaves_all_as_it_is():
    assert set(governed(lambda _: 0.001, 0.03, seconds=20)) == {1000.0}
    limiter = LatencyLimiter()
    for tick in range(100):
        limiter.learn(tick / 10, [9.0] * 50, 50, 0.1, None)
    assert limiter.rate is None
    assert limiter.speed == pytest.approx(500)


def test_one_slow_write_of_a_hundred_is_none_and_never_less_than_a_row_a_second_passes():
    assert percentile_99([0.001] * 99 + [5.0]) == 0.001
    assert percentile_99([0.001] * 98 + [5.0] * 2) == 5.0
    assert percentile_99([2.0]) == 2.0
    assert min(governed(lambda _: 9.0, 0.03)) == 1.0
    assert (slower(None, None), slower(3.0, None), slower(3.0, 2.0)) == (None, 3.0, 2.0)


# How tasks obey.


def rows_of(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": pa.array(range(count))})


def reader(store: Store, state: ThrottleState, *, owner: str = "me", lease_s: float = 60) -> ThrottleReader:
    lease_until_us = time.time_ns() // 1000 + int(lease_s * 1e6)
    store.records.put(MIGRATION, [{"id": "m", "owner": owner, "lease_until_us": lease_until_us}])
    publish(store, "m", "me", state)
    found = ThrottleReader("m", "me")
    found.catalog = store
    return found


def test_what_is_written_comes_in_parts_that_keep_to_the_share(store):
    throttle, began = Throttle(reader(store, ThrottleState(rows_per_second=100)), store), time.monotonic()
    parts = [part.num_rows for part in throttle.parts(rows_of(55))]
    throttle.end()
    assert sum(parts) == 55
    assert max(parts) == 10
    assert time.monotonic() - began >= 0.5


def test_rows_that_are_compared_and_not_written_are_paid_for_too(store):
    throttle, began = Throttle(reader(store, ThrottleState(rows_per_second=100)), store), time.monotonic()
    throttle.pass_by(30)
    assert [part.num_rows for part in throttle.parts(rows_of(10))] == [10]
    throttle.pass_by(10)
    throttle.end()
    assert 0.45 <= time.monotonic() - began < 60


def test_a_task_that_is_held_waits_whatever_it_has_paid(store):
    throttle = Throttle(reader(store, ThrottleState(rows_per_second=1)), store)
    throttle.pass_by(10**6)
    began = time.monotonic()
    throttle.hold()
    assert time.monotonic() - began < 60


def test_without_a_limit_nothing_is_cut_small_or_held_up(store):
    throttle = Throttle(reader(store, ThrottleState()), store)
    assert [part.num_rows for part in throttle.parts(rows_of(256))][:1] == [128]
    assert len(list(throttle.parts(rows_of(1000)))) == 1
    free = Throttle(ThrottleReader("m", ""), store)
    free.pass_by(10**9)
    free.pass_by(1)


def test_a_task_whose_run_gives_no_limits_any_more_stops(store):
    throttle = Throttle(reader(store, ThrottleState()), store)
    withdraw(store, "m")
    with pytest.raises(OwnedByAnother, match="gives no limits any more"):
        throttle.pass_by(1)


@pytest.mark.parametrize("gone", [{"owner": "another"}, {"lease_s": -120}], ids=["taken", "dead"])
def test_a_task_does_not_wait_for_a_run_that_is_over(store, gone):
    throttle = Throttle(reader(store, ThrottleState(wait="paused by ann"), **gone), store)
    with pytest.raises(OwnedByAnother, match="the run of this task has ended"):
        throttle.hold()
    with pytest.raises(OwnedByAnother, match="the run of this task has ended"):
        throttle.pass_by(1)


def test_a_cell_expires_when_it_would_have_however_long_its_row_waits(monkeypatch):
    now_s = 1_800_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now_s * 1_000_000_000)
    rows = pa.RecordBatch.from_pydict({"id": ["a", "b", "c"], "ttl(t)": pa.array([100, None, 3], pa.int32())})
    read = with_expiries(rows)
    assert read.schema == expiry_schema(rows.schema)
    assert read.column("expiry(t)").to_pylist() == [now_s + 100, None, now_s + 3]
    assert with_ttls(read) == rows
    now_s += 5
    assert with_ttls(read).column("ttl(t)").to_pylist() == [95, None, 1]


# Commands.


@pytest.fixture
def command(new_world, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs a command on a prepared migration."""
    world: World = new_world(throttle={"max_latency": "30ms"})
    world.create_source(some_articles(5))
    world.step("prepare")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--config", str(world.config)])
        return (code, *capsys.readouterr())

    run.world = world  # type: ignore[attr-defined]
    return run


def test_a_pause_is_said_once_shown_with_who_said_it_and_taken_back(command):
    world: World = command.world
    assert command("pause")[1] == (
        "articles-to-articles_v2 is paused: its tasks stop within five seconds\nnext: embedshift resume\n"
    )
    signal = read_signal(world.store, world.migration.id, PAUSE)
    assert signal is not None
    assert "was already paused, by " in command("pause")[1]
    assert read_signal(world.store, world.migration.id, PAUSE) == signal
    assert "throttle: paused by " in command("status")[1]
    assert json.loads(command("status", "--json")[1])["migration"]["throttle"]["paused"]["by"] in signal.sent_by
    assert "continues" in command("resume")[1]
    assert "was not paused" in command("resume")[1]
    status = json.loads(command("status", "--json")[1])["migration"]["throttle"]
    assert (status["paused"], status["reason"]) == (None, None)


def test_limits_add_up_until_they_are_lifted(command):
    assert json.loads(command("throttle", "--rows-per-second", "500", "--json")[1])["limits"] == {
        "rows_per_second": 500,
        "max_latency_ms": 30,
        "between": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
    }
    said = command("throttle", "--between", "22:00-6:00", "--max-latency-ms", "12.5")[1]
    assert "at most 500 rows/s, p99 of writes at most 12.5 ms, only 22:00-06:00" in said
    assert "at most 500 rows/s" in command("status")[1]
    assert "no limits" in command("throttle", "--off")[1]
    assert "p99 of writes at most 30 ms\n" in command("throttle", "--as-settings")[1]
    assert read_signal(command.world.store, command.world.migration.id, THROTTLE) is None
    command.world.store.records.put(MIGRATION, [{"id": command.world.migration.id, "state": "aborted"}])
    assert command("pause")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--rows-per-second"),
        (["--off", "--rows-per-second", "5"], "throttle takes limits, or --off"),
        (["--rows-per-second", "fast"], "not a valid|valid number"),
        (["--rows-per-second", "0"], "0.01"),
        (["--max-latency-ms", "-1"], "0.01"),
        (["--between", "22-6"], "write it as 22:00-06:00"),
        (["--between", "22:00-06:00 Berlin"], "there is no time zone Berlin"),
        (["--rows-per-secnd", "5"], "No such option"),
    ],
    ids=str,
)
def test_a_mistyped_limit_is_one_line_and_exit_2(tmp_path, capsys, arguments, said):
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({**TREE, "store": {"path": str(tmp_path / "articles.sqlite")}}))
    assert main(["throttle", *arguments, "--config", str(config)]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert any(each in err for each in said.split("|"))
    assert out == ""


def test_before_there_is_a_migration_there_is_nothing_to_pause(tmp_path, capsys):
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({**TREE, "store": {"path": str(tmp_path / "articles.sqlite")}}))
    for words in (["pause"], ["resume"], ["throttle", "--off"]):
        assert main([*words, "--config", str(config)]) == 4
        assert "run embedshift prepare first" in capsys.readouterr().err


def test_the_line_of_a_throttle_has_reason_and_limits():
    limits = {"rows_per_second": 500.0, "max_latency_ms": 30.0, "between": None}
    slowed = {"reason": "slowed: p99 of writes 48 ms > 30 ms", "limits": limits}
    assert (
        throttle_line(slowed) == "slowed: p99 of writes 48 ms > 30 ms; at most 500 rows/s; p99 of writes at most 30 ms"
    )
    assert throttle_line({"reason": None, "limits": dict.fromkeys(limits)}) == ""
