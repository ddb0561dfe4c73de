"""A real store whose n-th call goes wrong, or lets an application in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from embedshift.errors import NotPermitted, StoreUnavailable
from tests.histories.one_process import WorkerDied

CALLS = frozenset(
    {"write", "delete", "fetch", "scan", "create", "drop", "create_index", "drop_index", "search", "describe", "exists"}
    | {"put", "insert", "update_if", "get", "select", "estimate"}
)


class Killed(BaseException):
    """The process is gone: nothing that it would have done afterwards is done."""


@dataclass(frozen=True)
class Fault:
    """What happens at which call of a step.

    ``kind``: ``kill`` ends the process, ``worker`` the task's, ``unavailable`` is a store that does not answer,
    ``act`` lets the application in. ``applied``: after the call took effect; else instead of it, or before it.
    ``call``: only calls of it are counted, such as ``drop articles``; empty: every one.
    """

    at: int
    kind: str
    applied: bool
    call: str = ""


def called(name: str, arguments: tuple[Any, ...]) -> str:
    """A call by its name, and that of the table if there is one."""
    table = arguments[0] if arguments else ""
    return f"{name} {getattr(table, 'name', table)}".strip()


class Tampered:
    """A store, seen by one run of a step.

    Args:
        inner: the real one.
        fault: what is to happen; None: nothing.
        act: what the application does when it is let in.
        in_task: whether the present call is that of a task.
    """

    def __init__(
        self,
        inner: Any,
        fault: Fault | None = None,
        act: Callable[[], None] = lambda: None,
        in_task: Callable[[], bool] = lambda: False,
    ) -> None:
        self._in_task = in_task
        self.inner = inner
        self._fault = fault
        self._act = act
        self._thread = threading.get_ident()
        self.calls = 0
        self.killed = False
        self.struck = ""
        self.records = _Records(self)

    def __getattr__(self, name: str) -> Any:
        return self.guarded(name, getattr(self.inner, name))

    def guarded(self, name: str, function: Any) -> Any:
        """The same function, counted."""
        if name not in CALLS and not name.startswith("a batch"):
            return function
        if name == "scan":
            return lambda *arguments, **options: self._batches(function(*arguments, **options))

        def call(*arguments: Any, **options: Any) -> Any:
            meant = self._fault is not None and self._fault.call == called(name, arguments)
            # Threads that only watch or renew a lease call by the real clock, and would make each run another one.
            if threading.get_ident() != self._thread and not meant:
                return function(*arguments, **options)
            if self.killed:
                raise Killed
            if self._fault is not None and self._fault.call and not meant:
                return function(*arguments, **options)
            self.calls += 1
            if self._fault is None or self.calls != self._fault.at:
                return function(*arguments, **options)
            if not self._fault.applied:
                self._strike(name)
                return function(*arguments, **options)
            result = function(*arguments, **options)
            self._strike(name)
            return result

        return call

    def _batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """A scan, of which every batch is a call."""
        following = self.guarded("a batch of a scan", lambda: next(batches, None))
        while (batch := following()) is not None:
            yield batch

    def _strike(self, name: str) -> None:
        assert self._fault is not None
        if self._fault.kind == "worker" and not self._in_task():
            return
        self.struck = f"{self._fault.kind} at {name}"
        if self._fault.kind == "kill":
            self.killed = True
            raise Killed
        if self._fault.kind == "worker":
            raise WorkerDied(name)
        if self._fault.kind == "unavailable":
            raise StoreUnavailable(f"the store did not answer to {name}")
        self._act()


class Forbidden:
    """A store whose user may not write one table of the catalog."""

    def __init__(self, inner: Any, table: str) -> None:
        self._inner, self.records = inner, _ForbiddenRecords(inner.records, table)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _ForbiddenRecords:
    def __init__(self, inner: Any, table: str) -> None:
        self._inner, self._table = inner, table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, table: Any, rows: Any) -> None:
        if table.name == self._table:
            raise NotPermitted(f"no right to write {table.name}")
        self._inner.put(table, rows)


class _Records:
    def __init__(self, store: Tampered) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return self._store.guarded(name, getattr(self._store.inner.records, name))
