"""Calls of the JVM that take long: each in a thread of its own, which the calling thread waits for.

So Ctrl-C never strikes in the middle of a call, which would have to end before anything else could be asked of the JVM,
to stop it for instance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
#: Seconds between two moments at which an interrupted wait ends on systems that do not end it at once.
_LOOK_S = 0.5


class Job(threading.Thread):
    """Work in a thread of its own, and the error with which it ended."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(name="embedshift-job", daemon=True)
        self.error: BaseException | None = None
        self._work = work

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for it
            self.error = error


def in_thread(work: Callable[[], Result]) -> Result:
    """The result of such a call. Raises what it raised."""
    results: list[Result] = []
    job = Job(lambda: results.append(work()))
    job.start()
    while job.is_alive():
        job.join(_LOOK_S)
    if job.error is not None:
        raise job.error
    return results[0]
