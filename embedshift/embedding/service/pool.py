"""Threads that wait for a service. Those of the standard library would keep a process alive until the last answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")
#: Seconds that a closed pool is waited for.
_END_S = 5.0


class Pool:
    """A number of threads that do what they are given, in its order. They end with the process, whatever they do."""

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Have something done; what is cancelled before its turn is not begun."""
        if not self._most:
            raise RuntimeError("the pool is closed")
        future: Future[Result] = Future()

        def task() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - raised again where the result is wanted
                    future.set_exception(error)

        self._tasks.put(task)
        with self._lock:
            if len(self._threads) < self._most:
                thread = threading.Thread(target=self._run, name="embedshift-service", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def close(self) -> None:
        """Let the threads end when they have done what they were given."""
        with self._lock:
            threads, self._most = self._threads, 0
        for _ in threads:
            self._tasks.put(_end)
        for thread in threads:
            thread.join(_END_S)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not _end:
            task()


def _end() -> None:
    """What ends a thread instead of being done."""
