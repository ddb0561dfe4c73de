"""Durations, moments and windows of time: how they are read, and how they are written.

Each ``parse_…`` raises ``TimeFormatError``, which says what is wrong and how to write it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as WallClock
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from embedshift.errors import TimeFormatError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WINDOW = re.compile(
    r"(?:(?P<days>[A-Za-z, -]+?)\s+)?(?P<start>\d{1,2}:\d\d)(?:\s*-\s*(?P<end>\d{1,2}:\d\d))?(?:\s+(?P<zone>\S+))?"
)
_WINDOW_HINT = "write it as 22:00-06:00, sat,sun 01:00-05:00, mon-fri 22:00-06:00 Europe/Berlin, or sunday 02:30"
_MIDNIGHT = WallClock(0, 0)


def now_us() -> int:
    """The present in microseconds since the epoch, the unit of write times."""
    return time.time_ns() // 1000


def to_us(span: timedelta) -> int:
    """A duration in whole microseconds."""
    return span // timedelta(microseconds=1)


def utc_iso(moment_us: int) -> str:
    """A moment in microseconds since the epoch, for machines: ``2026-11-24T02:30:00Z``."""
    return f"{_utc(moment_us):%Y-%m-%dT%H:%M:%SZ}"


def utc_text(moment_us: int) -> str:
    """The same for people: ``2026-11-24 02:30:00 UTC``."""
    return f"{_utc(moment_us):%Y-%m-%d %H:%M:%S UTC}"


def _utc(moment_us: int) -> datetime:
    return datetime.fromtimestamp(moment_us / 1e6, UTC)


def parse_duration(value: object) -> timedelta:
    """``"90s"``, ``"1h"``, ``"30d"``, ``"500ms"``, or seconds as a number."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=float(value))
    match = _DURATION.fullmatch(str(value))
    if not match:
        raise TimeFormatError(
            f"{value!r} is not a duration", hint="write a number with ms, s, m, h or d, such as 90s or 24h"
        )
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """The shortest exact text of a duration: ``90s``, ``1h``, ``24h``, ``500ms``."""
    for unit in ("d", "h", "m", "s", "ms"):
        whole = timedelta(seconds=_UNITS[unit])
        if value and not value % whole:
            return f"{value // whole}{unit}"
    return f"{value / timedelta(milliseconds=1):.3f}ms" if value else "0s"


def parse_since(text: str) -> int:
    """A past moment in microseconds: ``2h`` ago, or ``2026-11-24T02:30``, in local time if it names no zone."""
    if _DURATION.fullmatch(text):
        return now_us() - to_us(parse_duration(text))
    try:
        since_us = int(datetime.fromisoformat(text).timestamp() * 1e6)
    except ValueError as error:
        raise TimeFormatError(
            f"{text!r} is not a time", hint="write how long ago, such as 2h, or a time such as 2026-11-24T02:30"
        ) from error
    if since_us > now_us():
        raise TimeFormatError(f"{text} is in the future", hint="name a time in the past")
    return since_us


def parse_at(text: str) -> datetime:
    """A future moment: ``02:30``, the next one on this machine's clock, or ``2026-11-24T02:30``."""
    now = datetime.now().astimezone()
    dated = "T" in text or " " in text
    try:
        moment = datetime.fromisoformat(text if dated else f"{now:%Y-%m-%d}T{text}").astimezone()
    except ValueError as error:
        raise TimeFormatError(f"{text!r} is not a time", hint="write it as 02:30 or 2026-11-24T02:30") from error
    if moment <= now and not dated:
        moment += timedelta(days=1)
    if moment <= now:
        raise TimeFormatError(f"{text} is in the past", hint="name a time in the future")
    return moment


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the week: the days on which it opens (Monday is 0), and its hours; the end is not included.

    An end that is not later than the start is on the next day. ``zone`` is a name of the time zone database; empty
    means the zone of this machine. Only the wall clock counts, never a number of seconds, so summer time does not move
    it.
    """

    days: frozenset[int]
    start: WallClock
    end: WallClock
    zone: str = ""

    def __str__(self) -> str:
        """The text that ``parse_window`` reads."""
        days = ",".join(_DAYS[day][:3] for day in sorted(self.days)) if len(self.days) < len(_DAYS) else ""
        return " ".join(filter(None, [days, f"{self.start:%H:%M}-{self.end:%H:%M}", self.zone]))

    def is_open(self, moment: datetime) -> bool:
        """Whether a moment is in the window; a moment without a zone is local."""
        wall = self._wall(moment)
        return any(begin <= wall < end for begin, end in self._around(wall, (-1, 0)))

    def opens(self, moment: datetime) -> datetime:
        """When it opens next after a moment, by the wall clock of its zone."""
        wall = self._wall(moment)
        return min(begin for begin, _ in self._around(wall, range(8)) if begin > wall)

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.zone) if self.zone else None).replace(tzinfo=None)

    def _around(self, wall: datetime, days: range | tuple[int, ...]) -> list[tuple[datetime, datetime]]:
        found = []
        for day in (wall.date() + timedelta(days=distance) for distance in days):
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                found.append((datetime.combine(day, self.start), datetime.combine(last, self.end)))
        return found


def parse_window(text: str) -> Window:
    """``22:00-06:00``, ``sat,sun 01:00-05:00``, or ``sunday 02:30``, which is open until the end of that day.

    The days are those on which the window opens, every day if none is named. A time zone may follow.
    """
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise TimeFormatError(f"{text!r} is not a window of hours", hint=_WINDOW_HINT)
    try:
        start, end = (WallClock.fromisoformat(f"{each:0>5}") for each in (found["start"], found["end"] or "00:00"))
    except ValueError as error:
        raise TimeFormatError(f"{text!r} names hours that do not exist", hint=_WINDOW_HINT) from error
    if start == end != _MIDNIGHT:
        raise TimeFormatError(
            f"{text!r} ends at the same time as it begins", hint="for the whole day write 00:00-00:00"
        )
    return Window(_days(found["days"], text), start, end, _zone(found["zone"] or ""))


def _zone(name: str) -> str:
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimeFormatError(f"there is no time zone {name}", hint="write it as Europe/Berlin") from error
    return name


def _days(words: str | None, text: str) -> frozenset[int]:
    if words is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in words.lower().split(","):
        first, *rest = (_day(word.strip(), text) for word in part.split("-", 1))
        last = rest[0] if rest else first
        days |= {(first + each) % 7 for each in range((last - first) % 7 + 1)}
    return frozenset(days)


def _day(word: str, text: str) -> int:
    found = [number for number, name in enumerate(_DAYS) if len(word) >= 3 and name.startswith(word)]
    if not found:
        raise TimeFormatError(f"{text!r} names no day of the week with {word!r}", hint=_WINDOW_HINT)
    return found[0]
