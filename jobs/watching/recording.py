"""The run of a command, as the log and Prometheus have it: that it begins, how it ends, how long it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs import meters
from jobs.logs import trouble_level
from jobs.settings import Settings
from jobs.stores.contract import Store
from jobs.watching.exposition import exposed

_LOG = logging.getLogger(__name__)
#: Commands that only look: they are not counted, and open no port beside the step that is running.
_LOOKING = frozenset({"status", "report", "history", "give_word"})


@contextmanager
def recorded_run(command: str, settings: Settings, store: Store, say: Callable[[str], None]) -> Iterator[None]:
    """Log and count a command, and offer the metrics of the settings, until the block ends."""
    if command in _LOOKING:
        yield
        return
    with exposed(settings, store, say), _recorded(command, settings):
        yield


@contextmanager
def _recorded(command: str, settings: Settings) -> Iterator[None]:
    started, outcome = time.monotonic(), "failed"
    told = {"command": command, "alias": settings.alias, "target": settings.target.table}
    _LOG.info("begins", extra=told)
    try:
        yield
        outcome = "done"
        meters.set_gauge(meters.SUCCESS, time.time(), step=command)
    except BaseException as error:
        ends = {**told, "seconds": _since(started)}
        _LOG.log(trouble_level(), "ends before it is done", exc_info=error, extra=ends)
        raise
    finally:
        meters.count(meters.RUNS, step=command, outcome=outcome)
        meters.set_gauge(meters.RUN_SECONDS, _since(started), step=command)
    _LOG.info("is done", extra={**told, "seconds": _since(started)})


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
