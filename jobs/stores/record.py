"""What every store can do for the catalog: small rows, and compare-and-set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A table of the catalog. Types are ``text``, ``bigint``, ``double``, ``boolean``."""

    name: str
    partition: tuple[str, ...]
    clustering: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The primary key's column names."""
        return (*self.partition, *self.clustering)


Record = dict[str, Any]


class Records(Protocol):
    """Small rows with compare-and-set: what the catalog stands on. Reads see every write acknowledged before."""

    def ensure(self, tables: Sequence[RecordTable]) -> None:
        """Create what is missing; existing tables stay as they are."""
        ...

    def has(self, table: RecordTable) -> bool:
        """Whether the table is there."""
        ...

    def get(self, table: RecordTable, key: Record) -> Record | None:
        """The row of that full primary key."""
        ...

    def select(self, table: RecordTable, partition: Record) -> Iterator[Record]:
        """The rows of one partition in clustering order; of the whole table where ``partition`` is empty.

        With the whole primary key, that one row.
        """
        ...

    def put(self, table: RecordTable, rows: Sequence[Record]) -> None:
        """Write rows, over what was there."""
        ...

    def insert(self, table: RecordTable, row: Record) -> bool:
        """Write a row that must not be there yet; False, and nothing written, where it is."""
        ...

    def update_if(self, table: RecordTable, key: Record, changes: Record, expected: Record) -> bool:
        """Compare-and-set: change the row only while every column of ``expected`` holds that value."""
        ...

    def delete(self, table: RecordTable, *keys: Record) -> None:
        """Delete the row of each key, or with a partition key alone all rows of that partition."""
        ...
