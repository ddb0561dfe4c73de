"""What a transfer leaves behind beside the catalog: lines in the log, and counts for Prometheus."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict

from jobs import meters
from jobs.catalog.ranges import Progress, RangeRecord
from jobs.logs import trouble_level
from jobs.spark.transfer import Transfer

_LOG = logging.getLogger(__name__)
#: Seconds between two lines on the progress.
_LINE_S = 30.0


def log_range(transfer: Transfer, record: RangeRecord) -> None:
    """Log the outcome of one range, by the task that has written its row: done is for debug."""
    told = {
        "migration": transfer.migration,
        "step": transfer.step,
        "range": str(record.range),
        "attempt": record.attempts,
        "seconds": round(record.seconds, 3),
    }
    if record.error:
        _LOG.log(trouble_level(), "a range failed", extra={**told, "error": record.error})
    else:
        _LOG.debug("a range is done", extra={**told, **asdict(record.counts)})


def recorded(transfer: Transfer, before: Progress, report: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """A report that also logs and counts what it is told.

    Args:
        before: the progress before this run; what was done by then, earlier runs have counted.
    """
    told = {"migration": transfer.migration, "step": transfer.step}
    step, seen, spoken = meters.step_label(transfer.step), before, time.monotonic()
    _LOG.info("ranges to carry", extra={**told, "known": before.ranges, "done": before.done})

    def look(now: Progress) -> None:
        nonlocal seen, spoken
        report(now)
        _count(step, seen, now)
        seen = now
        if now.complete or time.monotonic() - spoken >= _LINE_S:
            spoken = time.monotonic()
            ranges = {"ranges": now.ranges, "done": now.done, "failed": now.failed}
            _LOG.info("ranges carried", extra={**told, **ranges, **asdict(now.counts)})

    return look


def _count(step: str, seen: Progress, now: Progress) -> None:
    for outcome in ("written", "unchanged", "dead", "deleted", "shadowed"):
        more = getattr(now.counts, outcome) - getattr(seen.counts, outcome)
        # Ranges with dead letters are planned anew: what they had counted is gone from the catalog.
        meters.count(meters.ROWS, max(0, more), step=step, outcome=outcome)
    meters.count(meters.RANGES_DONE, max(0, now.done - seen.done), step=step)
    meters.count(meters.FAILURES, max(0, now.failed - seen.failed), step=step)
