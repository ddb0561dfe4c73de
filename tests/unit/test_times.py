"""When a window of the week is open."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from embedshift.errors import UsageError
from embedshift.settings import parse_settings
from embedshift.times import parse_window

MONDAY, TUESDAY, SATURDAY, SUNDAY = 23, 24, 28, 29  # of November 2026


def at(day: int, clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{day}T{clock}")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:00", [(MONDAY, "22:00"), (TUESDAY, "05:59")], [(MONDAY, "21:59"), (TUESDAY, "06:00")]),
        ("1:00-5:00", [(MONDAY, "01:00")], [(MONDAY, "05:00")]),
        ("sunday 02:30", [(SUNDAY, "02:30"), (SUNDAY, "23:59")], [(SUNDAY, "02:29"), (MONDAY, "03:00")]),
        ("Sat, sun 22:00-06:00", [(SUNDAY, "03:00"), (SUNDAY, "22:00")], [(SATURDAY, "03:00"), (MONDAY, "22:30")]),
        ("02:30", [(MONDAY, "02:30"), (SUNDAY, "23:59")], [(MONDAY, "02:29")]),
        ("fri-mon 00:00-00:00", [(SATURDAY, "12:00"), (MONDAY, "23:59")], [(TUESDAY, "00:00")]),
    ],
)
def test_a_window_is_open_from_its_start_until_its_end(text, inside, outside):
    window = parse_window(text)
    assert [each for each in inside if not window.is_open(at(*each))] == []
    assert [each for each in outside if window.is_open(at(*each))] == []


def test_a_window_says_when_it_opens_next():
    assert parse_window("22:00-06:00").opens(at(MONDAY, "22:00")) == at(TUESDAY, "22:00")
    assert parse_window("sunday 02:30").opens(at(MONDAY, "12:00")) == at(SUNDAY, "02:30")
    assert parse_window("mon 02:30").opens(at(MONDAY, "02:30")) == datetime(2026, 11, 30, 2, 30)


@pytest.mark.parametrize("text", ["", "night", "25:00-26:00", "su 02:30", "22:00-", "22-06", "noday 01:00", "sunday"])
def test_what_is_no_window_is_named_with_an_example(text):
    with pytest.raises(UsageError, match=r"write it as 22:00-06:00"):
        parse_window(text)


def test_one_grammar_reads_the_windows_of_upgrades_and_of_the_throttle():
    """``upgrade --when`` takes a time zone, and ``throttle --between`` takes days."""
    window = parse_window("Sat,Sun 22:00-06:00 Europe/Berlin")
    assert window.is_open(datetime(2026, 11, 28, 21, 0, tzinfo=UTC))
    assert not window.is_open(datetime(2026, 11, 28, 20, 59, tzinfo=UTC))
    assert not window.is_open(datetime(2026, 11, 27, 23, 0, tzinfo=UTC))
    assert str(window) == "sat,sun 22:00-06:00 Europe/Berlin"
    assert parse_window(str(window)) == window
    settings = {"alias": "a", "store": {"path": "x"}, "source": {"table": "t", "model": {"name": "m"}}}
    between = {"throttle": {"between": "sat,sun 22:00-06:00"}, "target": {"table": "t_v2"}}
    assert parse_settings({**settings, **between}).throttle.between == "sat,sun 22:00-06:00"
