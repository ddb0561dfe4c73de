"""A store whose vector indexes learn of writes from a change log, over one whose indexes know everything at once.

The rules are ScyllaDB's: a write from before the log began is refused, one from the future too, and one that arrives
later than the log's readers is in the table and never in the index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from embedshift.errors import SchemaError
from embedshift.stores.model import Index, Rejection, write_time
from embedshift.tokens import WHOLE_RING

#: When a log begins before its index is created; how far ahead a write may be; how far behind the slower reader is.
BEFORE_US, AHEAD_US, BEHIND_US = 5_000_000, 5_000_000, 30_000_000


class LogFedStore:
    """What the index of a table has is in ``indexed``: for each key, as a tuple, its vector.

    Args:
        inner: the real store.
        now_us: the clock of the servers.
    """

    def __init__(self, inner: Any, now_us: Callable[[], int]) -> None:
        self.inner, self._now_us = inner, now_us
        self._indexes: dict[str, Index] = {}
        self._floors: dict[str, int] = {}
        self.indexed: dict[str, dict[tuple[Any, ...], list[float]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write_floor(self, table: str) -> int | None:
        return self._floors.get(table)

    def create_index(self, index: Index) -> None:
        self.inner.create_index(index)
        if index.table not in self._floors:
            self._indexes[index.table] = index
            self._floors[index.table] = self._now_us() - BEFORE_US
            self.indexed[index.table] = self.vectors(index.table)

    def raise_floor(self, table: str, at_us: int | None = None) -> None:
        """The older streams of the log are collected: from now on it begins then, or now."""
        self._floors[table] = at_us or self._now_us()

    def drop_index(self, index: Index) -> None:
        self.inner.drop_index(index)
        self._forget(index.table)

    def drop(self, table: str) -> None:
        self.inner.drop(table)
        self._forget(table)

    def _forget(self, table: str) -> None:
        for known in (self._indexes, self._floors, self.indexed):
            known.pop(table, None)

    def vectors(self, table: str) -> dict[tuple[Any, ...], list[float]]:
        """What the index would have if it had seen every write."""
        described, column = self.inner.describe(table), self._indexes[table].column
        found: dict[tuple[Any, ...], list[float]] = {}
        for batch in self.inner.scan(described, WHOLE_RING, values=[column]):
            for row in batch.to_pylist():
                if row[column] is not None:
                    found[tuple(row[key.name] for key in described.keys)] = row[column]
        return found

    def write(self, table: Any, rows: pa.RecordBatch) -> list[Rejection]:
        if table.name not in self._floors:
            found: list[Rejection] = self.inner.write(table, rows)
            return found
        names = [write_time(c.name) for c in table.others if write_time(c.name) in rows.schema.names]
        times = [rows.column(name).to_pylist() for name in names]
        latest = [max((each for each in row if each is not None), default=0) for row in zip(*times, strict=True)]
        self._check_floor(table.name, [each for column in times for each in column if each is not None])
        early = np.array([each <= self._now_us() + AHEAD_US for each in latest], np.bool_)
        taken = rows.filter(pa.array(early))
        places = np.flatnonzero(early).tolist()
        rejected = [Rejection(places[each.row], each.reason) for each in self.inner.write(table, taken)]
        column = self._indexes[table.name].column
        if write_time(column) in taken.schema.names:
            self._learn(table, taken, taken.column(write_time(column)).to_pylist())
        return rejected + [Rejection(int(at), "a write from the future") for at in np.flatnonzero(~early)]

    def write_if(self, table: Any, rows: pa.RecordBatch, seen: pa.RecordBatch) -> Any:
        written = self.inner.write_if(table, rows, seen)
        if table.name in self._floors and self._indexes[table.name].column in rows.schema.names:
            applied = rows.filter(pa.array(written.applied))
            self._learn(table, applied, [self._now_us()] * applied.num_rows)
        return written

    def delete(self, table: Any, keys: pa.RecordBatch, write_times: Any) -> None:
        if table.name in self._floors:
            self._check_floor(table.name, [int(each) for each in write_times])
        self.inner.delete(table, keys, write_times)
        if table.name in self._floors:
            self._learn(table, keys, [int(each) for each in write_times])

    def _check_floor(self, table: str, times: list[int]) -> None:
        if any(each < self._floors[table] for each in times):
            raise SchemaError(f"could not find any CDC streams for table {table} for timestamp {min(times)}")

    def _learn(self, table: Any, rows: pa.RecordBatch, times: list[int | None]) -> None:
        """The readers of the log come to those rows that were written at about their own time."""
        names = [key.name for key in table.keys]
        keys = [tuple(row[name] for name in names) for row in rows.select(names).to_pylist()]
        present = self.vectors(table.name)
        for key, at in zip(keys, times, strict=True):
            if at is not None and at >= self._now_us() - BEHIND_US:
                if key in present:
                    self.indexed[table.name][key] = present[key]
                else:
                    self.indexed[table.name].pop(key, None)

    def check(self, table: str) -> None:
        """The index has the vectors of the table, and no others."""
        if table in self._floors:
            wanted, has = self.vectors(table), self.indexed[table]
            assert has.keys() == wanted.keys(), f"the index of {table} has {sorted(has)}, not {sorted(wanted)}"
            other = [key for key, vector in wanted.items() if has[key] != vector]
            assert not other, f"the index of {table} has other vectors of {other}"
