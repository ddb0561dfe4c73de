"""Processes that prepare once and then do a piece of work whenever they are asked, such as a worker with its model."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

#: Seconds that one piece of work may take before the benchmark fails.
DEADLINE_S = 900

Work = Callable[[], Any]


class Children:
    """Processes that do the same at the same time; ``ask`` returns the wall time until the last one is done."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections
        self._answers()  # each says when it is prepared

    def ask(self) -> tuple[float, list[Any]]:
        """Let all of them work once. Returns the seconds, and what each returned."""
        started = time.perf_counter()
        for each in self._connections:
            each.send(True)
        answers = self._answers()
        return time.perf_counter() - started, answers

    def _answers(self) -> list[Any]:
        answers = []
        for each in self._connections:
            if not each.poll(DEADLINE_S):
                raise TimeoutError(f"a process has not answered within {DEADLINE_S} s")
            answers.append(each.recv())
        return answers


@contextmanager
def children(prepare: Callable[..., Work], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Children]:
    """Start one process for each tuple of arguments, and end them at the end of the block.

    Args:
        prepare: a function of a module; each process calls it with its arguments, and it returns the work.
    """
    context = multiprocessing.get_context("spawn")
    started = []
    for each in arguments:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, prepare, each), daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    try:
        yield Children([connection for _, connection in started])
    finally:
        for _, connection in started:
            connection.close()  # the end of its process
        for process, _ in started:
            process.join(30)
            if process.is_alive():
                process.terminate()


def _serve(connection: Connection, prepare: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    work = prepare(*arguments)
    connection.send(None)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(work())
