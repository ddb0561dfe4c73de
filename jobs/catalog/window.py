"""A window of the week: when something may be done, by this machine's clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from jobs.errors import UsageError

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FORM = re.compile(r"(?:(?P<days>[a-z, -]+?)\s+)?(?P<start>\d{1,2}:\d\d)(?:\s*-\s*(?P<end>\d{1,2}:\d\d))?")
_HINT = "write it as 22:00-06:00, sat,sun 01:00-05:00, mon-fri 22:00-06:00, or sunday 02:30"


@dataclass(frozen=True, slots=True)
class Window:
    """Days on which it opens (Monday is 0), and from when to when; an end that is not later is on the next day."""

    text: str
    days: frozenset[int]
    start: time
    end: time

    def is_open(self, at: datetime) -> bool:
        """Whether a local time lies in it: the start does, the end does not."""
        return any(begin <= at < end for begin, end in self._around(at, (-1, 0)))

    def opens(self, at: datetime) -> datetime:
        """When it opens next after a local time."""
        return min(begin for begin, _ in self._around(at, range(8)) if begin > at)

    def _around(self, at: datetime, days: range | tuple[int, ...]) -> list[tuple[datetime, datetime]]:
        found = []
        for day in (at.date() + timedelta(days=distance) for distance in days):
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                found.append((datetime.combine(day, self.start), datetime.combine(last, self.end)))
        return found


def parse_window(text: str) -> Window:
    """``22:00-06:00``, ``sat,sun 01:00-05:00``, or ``sunday 02:30``, which is open until that day is over.

    The days are those on which the window opens; every day where none is named.

    Raises:
        UsageError: it is none of these.
    """
    found = _FORM.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is no window", hint=_HINT)
    try:
        start, end = (time.fromisoformat(f"{each:0>5}") for each in (found["start"], found["end"] or "00:00"))
    except ValueError as error:
        raise UsageError(f"{text!r} names a time that no clock shows", hint=_HINT) from error
    return Window(text, _days(found["days"], text), start, end)


def _days(words: str | None, text: str) -> frozenset[int]:
    if words is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in words.split(","):
        first, *rest = (_day(word.strip(), text) for word in part.split("-", 1))
        last = rest[0] if rest else first
        days |= {(first + each) % 7 for each in range((last - first) % 7 + 1)}
    return frozenset(days)


def _day(word: str, text: str) -> int:
    found = [number for number, name in enumerate(_DAYS) if len(word) >= 3 and name.startswith(word)]
    if not found:
        raise UsageError(f"{text!r} names no day of the week with {word!r}", hint=_HINT)
    return found[0]
