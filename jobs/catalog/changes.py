"""Who is told, in this run, that a migration has another state: the catalog knows of changes, and not of hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Called with the migration's id, its state before and its state now.
Watcher = Callable[[str, str, str], None]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Let the watcher be told of each change that this run makes until the block ends."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def tell_change(migration: str, before: str, now: str) -> None:
    """Tell the watcher, where there is one."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(migration, before, now)
