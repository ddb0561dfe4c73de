"""Work that is repeated in a thread while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def repeated(work: Callable[[], object], seconds: float, name: str, *, despite: type[Exception]) -> Iterator[None]:
    """Do ``work`` every ``seconds`` in a thread until the block ends; the first time after the first wait.

    Args:
        work: what is done. It is over when the block has ended.
        seconds: the wait between two times.
        name: of the thread.
        despite: an error of the work that is passed over: the next time may succeed.
    """
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(seconds):
            with suppress(despite):
                work()

    thread = threading.Thread(target=go_on, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
