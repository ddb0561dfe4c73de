"""What every store can do for the catalog: small rows, and compare-and-set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A table of the catalog. Types are ``text``, ``bigint``, ``double``, ``boolean``; a key without a type is text."""

    name: str
    partition: tuple[str, ...]
    clustering: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The primary key's column names."""
        return (*self.partition, *self.clustering)


def declared(name: str, columns: str, *, partition: str, clustering: str = "") -> RecordTable:
    """A table by its declaration: columns as ``"alias text, version bigint"``, keys as names with spaces between."""
    types = dict(each.split() for each in columns.split(", "))
    return RecordTable(name, tuple(partition.split()), tuple(clustering.split()), types)


Record = dict[str, Any]


class Records(Protocol):
    """Small rows with compare-and-set, on which the catalog is built. Reads see every write acknowledged before.

    A method returns once all that it changes is acknowledged. Every method may raise StoreUnavailable.
    """

    def ensure(self, tables: Sequence[RecordTable]) -> None:
        """Create the tables that are missing; existing ones stay as they are.

        Raises:
            SchemaError: a table cannot be created, for instance because its keyspace does not exist.
        """

    def has(self, table: RecordTable) -> bool:
        """Whether the table exists."""

    def columns(self, table: RecordTable) -> frozenset[str]:
        """The columns that the table really has, whoever made it; none if it does not exist."""

    def add_columns(self, table: RecordTable) -> None:
        """Add the columns that an existing table lacks; their values are null."""

    def get(self, table: RecordTable, key: Record) -> Record | None:
        """The row of that full primary key, None if there is none. Sees every acknowledged compare-and-set."""

    def select(self, table: RecordTable, partition: Record) -> Iterator[Record]:
        """The rows of one partition in clustering order; of the whole table if ``partition`` is empty.

        With the whole primary key, that one row.
        """

    def put(self, table: RecordTable, rows: Sequence[Record]) -> None:
        """Write rows over what was there; columns that a row does not name stay as they are."""

    def insert(self, table: RecordTable, row: Record) -> bool:
        """Write a row that must not exist yet; return False, and write nothing, if it does."""

    def update_if(self, table: RecordTable, key: Record, changes: Record, expected: Record) -> bool:
        """Compare-and-set: change the row only if every column of ``expected`` holds that value.

        None means a column without a value. A row that does not exist is never changed.

        Returns:
            Whether the row was changed.
        """

    def delete_if(self, table: RecordTable, key: Record, expected: Record) -> bool:
        """Compare-and-set: delete the row only if every column of ``expected`` holds that value.

        A row that ``insert`` or ``update_if`` has ever written is deleted only so: a plain deletion has the time of
        this process's clock, and one that is ahead would hide the row's next creation.

        Returns:
            Whether there was such a row.
        """

    def delete(self, table: RecordTable, *keys: Record) -> None:
        """Delete the row of each key. A partition key alone deletes all rows of that partition."""
