"""What Ctrl-C does while Spark runs: the step ends at once, with one line and no trace."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import BaseServer


def expect_hanging_up() -> None:
    """Suppress the trace that PySpark prints when its JVM hangs up: the step says in one line what happened."""
    from pyspark import accumulators

    def handle_error(server: BaseServer, request: object, client: object) -> None:
        if not isinstance(sys.exc_info()[1], (EOFError, ConnectionError)):
            BaseServer.handle_error(server, request, client)  # type: ignore[arg-type]

    for server in (accumulators.AccumulatorTCPServer, accumulators.AccumulatorUnixServer):
        server.handle_error = handle_error  # type: ignore[method-assign, assignment]


@contextmanager
def interruptible() -> Iterator[None]:
    """From the start of Spark on, let Ctrl-C end the step at once and with one line."""
    try:
        with handling(interrupt):
            yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def own_handler() -> Iterator[None]:
    """Keep our handler of Ctrl-C while PySpark starts, and restore it afterwards.

    The handler that PySpark installs first asks the JVM to cancel its jobs, over the connection that the interrupted
    call is using; that fails with pages of traces. The jobs end with the context anyway.
    """
    from pyspark import SparkContext

    cancel = SparkContext.cancelAllJobs
    SparkContext.cancelAllJobs = _hush  # type: ignore[method-assign, assignment]
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


def _say_nothing(server: BaseServer, request: object, client: object) -> None:
    del server, request, client


def _hush(context: object = None) -> None:
    # Running calls would log that they were interrupted, or that the JVM hung up; the person who interrupted it knows.
    del context
    logging.disable(logging.CRITICAL)
    BaseServer.handle_error = _say_nothing  # type: ignore[assignment, method-assign]


def interrupt(number: int, frame: object) -> None:
    """The handler of Ctrl-C: end the step, without a trace of what it was doing."""
    del number, frame
    _hush()
    raise KeyboardInterrupt
