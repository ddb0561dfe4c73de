"""A standing as the page is told it: words that the page only has to put in their places."""

from __future__ import annotations

from typing import Any

from jobs.reporting.figures import moment
from jobs.watching.standing import Standing
from jobs.watching.words import MARKS, SLOWEST_HEAD, headline, rows, slowest


def view(standing: Standing) -> dict[str, Any]:
    """What ``watch.js`` shows."""
    return {
        "clock": moment(standing.at_us),
        "headline": headline(standing),
        "steps": [(MARKS[each.state], each.name, each.state) for each in standing.steps],
        "share": standing.work.share if standing.work else None,
        "rows": rows(standing),
        "head": SLOWEST_HEAD,
        "slowest": slowest(standing),
    }
