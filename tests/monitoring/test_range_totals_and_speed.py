"""The figures of a watch: totals over ranges, rows per second, and the time left with its interval."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from embedshift.catalog.ranges import Counts, RangeRecord
from embedshift.monitoring.progress import Speed, speed_of
from embedshift.monitoring.range_totals import SLOWEST, RangeTotal, total_of
from embedshift.tokens import WHOLE_RING

START_S = 1_700_000_000
SINCE_US = START_S * 1_000_000


def us(seconds: float) -> int:
    return int((START_S + seconds) * 1e6)


def steady(count: int, done: int, seconds_a_range: float = 10.0, rows: int = 50) -> list[RangeRecord]:
    """Ranges that end one after another, each after as many seconds."""
    return [
        RangeRecord(
            part, "done", Counts(rows, rows), 1, seconds=seconds_a_range, ended_us=us((at + 1) * seconds_a_range)
        )
        if at < done
        else RangeRecord(part)
        for at, part in enumerate(WHOLE_RING.split(count))
    ]


def test_sums_of_parts_are_the_sum_of_all():
    chance = random.Random(3)
    records = [
        replace(each, state=chance.choice(["planned", "done", "failed"]), attempts=chance.randint(0, 3), seconds=at)
        for at, each in enumerate(steady(300, 300))
    ]
    whole, parts = total_of(records), total_of(records[:70]) + total_of([]) + total_of(records[70:])
    assert parts == replace(whole, splits=parts.splits)
    assert parts.splits == pytest.approx(whole.splits)
    assert [each.seconds for each in whole.slowest] == sorted(
        (each.seconds for each in records if each.state != "planned"), reverse=True
    )[:SLOWEST]


def test_tries_and_cuts_are_counted_whatever_has_become_of_the_halves():
    """One range failed and was halved; one half failed too, and its halves wait. Another is done at the first try."""
    first, other = WHOLE_RING.split(2)
    half, failed = first.split(2)
    quarters = failed.split(2)
    records = [
        RangeRecord(other, "done", Counts(8, 8), 1),
        RangeRecord(half, "done", Counts(4, 4), 2),
        *(RangeRecord(each, "planned", attempts=2) for each in quarters),
    ]
    total = total_of(records)
    assert (total.ranges, total.done, total.planned) == (4, 2, 2)
    assert round(total.splits) == 2
    assert total.retries == 3
    assert total.rows_left == pytest.approx(12 / 3)


def test_a_steady_run_is_foretold_with_a_narrow_interval():
    speed = speed_of(total_of(steady(400, 100)), SINCE_US, us(1000))
    assert speed.rows_per_s_mean == pytest.approx(5.0)
    assert speed.rows_per_s == pytest.approx(5.0, rel=0.1)
    assert speed.left_s == pytest.approx(3000, rel=0.05)
    assert speed.left_s_low is not None
    assert speed.left_s_high is not None
    assert 2500 < speed.left_s_low < speed.left_s < speed.left_s_high < 3500
    assert speed.quiet_s == pytest.approx(0, abs=1)


def test_before_anything_has_ended_nothing_is_told():
    assert speed_of(total_of(steady(40, 0)), SINCE_US, us(60)) == Speed()


def test_of_few_ranges_no_interval_is_told():
    speed = speed_of(total_of(steady(40, 5)), SINCE_US, us(50))
    assert speed.left_s is not None
    assert (speed.left_s_low, speed.left_s_high) == (None, None)


def test_what_an_earlier_run_did_says_nothing_of_this_one():
    records = steady(100, 50)
    later = [replace(each, ended_us=each.ended_us + 86_400_000_000) for each in steady(100, 80)[50:]]
    speed = speed_of(total_of([*records[:50], *later]), us(86_400), us(86_400 + 800))
    assert speed.rows_per_s_mean == pytest.approx(5.0, rel=0.05)


def test_a_run_that_stands_still_has_no_end_in_sight():
    speed = speed_of(total_of(steady(400, 100)), SINCE_US, us(2500))
    assert speed.rows_per_s == 0
    assert speed.left_s is not None
    assert speed.left_s_high is None
    assert speed.quiet_s == pytest.approx(1500, abs=2)


def test_the_interval_holds_what_is_to_come_nine_times_in_ten():
    """Ranges of random length on several cores, looked at after a fifth, two fifths, … of the time that they take."""
    chance, held, told = random.Random(5), 0, 0
    for _ in range(40):
        cores, spread = chance.choice([2, 8, 32]), chance.choice([0.2, 0.6])
        free, ended = [0.0] * cores, []
        for part in WHOLE_RING.split(chance.choice([200, 600])):
            core = free.index(min(free))
            seconds = chance.lognormvariate(3, spread)
            free[core] += seconds
            ended.append(RangeRecord(part, "done", Counts(100, 100), 1, seconds=seconds, ended_us=us(free[core])))
        for share in (0.2, 0.4, 0.6, 0.8):
            now_s = max(free) * share
            records = [each if each.ended_us <= us(now_s) else RangeRecord(each.range) for each in ended]
            speed = speed_of(total_of(records), SINCE_US, us(now_s))
            if speed.left_s_low is not None:
                told += 1
                held += speed.left_s_low <= max(free) - now_s <= (speed.left_s_high or float("inf"))
    assert told >= 140
    assert held / told >= 0.85, (held, told)


def test_an_empty_sum_is_neither_settled_nor_begun():
    assert not RangeTotal().settled
    assert RangeTotal().untouched
    assert RangeTotal().rows_left is None
