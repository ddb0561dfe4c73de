"""Hours of the day, every day: ``22:00-06:00``, by the clock on the wall."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FORM = re.compile(r"\s*(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)(?:\s+(\S+))?\s*")


@dataclass(frozen=True, slots=True)
class Hours:
    """From ``opens`` until just before ``closes``, over midnight where that is the earlier one.

    ``zone`` is a name of the time zone database; empty: the zone of the machine that asks.
    """

    opens: time
    closes: time
    zone: str = ""

    def __str__(self) -> str:
        """The text that ``parse_hours`` reads."""
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}" + (f" {self.zone}" if self.zone else "")

    def cover(self, moment: datetime) -> bool:
        """Whether a moment, of whatever zone, lies within.

        The clock on the wall is asked, never a span of seconds, so that summer time moves nothing.
        """
        wall = moment.astimezone(ZoneInfo(self.zone) if self.zone else None).time()
        if self.opens < self.closes:
            return self.opens <= wall < self.closes
        return wall >= self.opens or wall < self.closes


def parse_hours(text: str) -> Hours:
    """``22:00-06:00``, or ``22:00-06:00 Europe/Berlin``. Raises ValueError."""
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no span of hours; write it as 22:00-06:00")
    try:
        opens, closes = (time.fromisoformat(each.rjust(5, "0")) for each in found.group(1, 2))
    except ValueError as error:
        raise ValueError(f"{text!r} is no span of hours: the clock goes from 00:00 to 23:59") from error
    if opens == closes:
        raise ValueError(f"{text!r} ends where it begins")
    zone = found[3] or ""
    try:
        ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {zone}; write it as Europe/Berlin") from error
    return Hours(opens, closes, zone)
