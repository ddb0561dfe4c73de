"""What Ctrl-C does while Spark runs: the step ends at once, with one line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """From the start of Spark on, let Ctrl-C end the step at once."""
    with handling(interrupt):
        yield


@contextmanager
def own_handler() -> Iterator[None]:
    """Keep our handler of Ctrl-C while PySpark starts, and restore it afterwards.

    The handler that PySpark installs first asks the JVM to cancel its jobs, over the connection that the interrupted
    call is using, and so waits for that call. The jobs end with the context anyway.
    """
    from pyspark import SparkContext

    cancel = SparkContext.cancelAllJobs
    SparkContext.cancelAllJobs = _leave_jobs  # type: ignore[method-assign, assignment]
    try:
        with handling(interrupt):
            yield
    finally:
        SparkContext.cancelAllJobs = cancel  # type: ignore[method-assign]


@contextmanager
def handling(handler: Callable[[int, object], object]) -> Iterator[None]:
    """Handle Ctrl-C like this; only the main thread receives it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_jobs(context: object) -> None:
    del context


def interrupt(number: int, frame: object) -> None:
    """The handler of Ctrl-C."""
    del number, frame
    raise KeyboardInterrupt
