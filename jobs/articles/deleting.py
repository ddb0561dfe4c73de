"""Deleting articles, in the live table and then in the second ones, at one time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.articles.clock import Clock
from jobs.articles.following import Following, Place, View
from jobs.articles.keys import Key, RowLocks, key_of, keys_batch, name_of
from jobs.articles.seconds import Seconds
from jobs.stores.contract import Store, write_time


class Deleting:
    """Deletes articles through the alias."""

    def __init__(self, store: Store, following: Following, seconds: Seconds, clock: Clock, locks: RowLocks) -> None:
        self._store = store
        self._following = following
        self._seconds = seconds
        self._clock = clock
        self._locks = locks

    def delete(self, id: Any) -> bool:
        """Delete one article. Returns whether there was one; deleting what is not there is no error."""

        def operation(view: View) -> bool:
            key = key_of(view.live.table, id)
            with self._locks.held([name_of(view.live.table, key)]):
                return self.delete_rows(view, [key], self._clock.next())[0]

        # Written once more after a move of the alias, the row is gone by its first time already.
        there: list[bool] = []
        self._following.writing(lambda view: there.append(operation(view)))
        return any(there)

    def delete_rows(self, view: View, keys: Sequence[Key], at_us: int) -> list[bool]:
        """Delete rows whose locks the caller holds, at a time taken before they were judged.

        Returns:
            Whether each was there.
        """
        newest = newest_times(self._store, view.live, keys)
        names = [name_of(view.live.table, key) for key in keys]
        # A cell that a clock ahead of ours has written would outlive a deletion of the present.
        times = [max(at_us, newest.get(name, 0) + 1) for name in names]
        self._store.delete(view.live.table, keys_batch(view.live.table, keys), np.array(times, np.int64))
        self._seconds.delete(view, keys, times)
        return [name in newest for name in names]


def newest_times(store: Store, place: Place, keys: Sequence[Key]) -> dict[str, int]:
    """Of the rows that are there, by name, the write time of the newest cell; 0 where no cell tells one."""
    table = place.table
    times = [column.name for column in table.others]
    rows = store.fetch(table, keys_batch(table, keys), times=times).to_pylist()
    return {name_of(table, row): max((row[write_time(n)] or 0 for n in times), default=0) for row in rows}
