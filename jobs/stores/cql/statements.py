"""The statements that write and delete, for one table."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.stores.contract import Table
from jobs.stores.cql.names import listed, qualified, quote


class Writing:
    """Statements over a table's key and some of its other columns.

    Args:
        keyspace: where the table is.
        table: the table as described.
        regular: the regular columns to write.
        static: the static columns to write.
    """

    def __init__(self, keyspace: str, table: Table, regular: Sequence[str], static: Sequence[str]) -> None:
        self._table = qualified(keyspace, table.name)
        self._key = [column.name for column in table.keys]
        self._partition = [column.name for column in table.keys if column.role == "partition"]
        self._regular, self._static = list(regular), list(static)

    @property
    def insert(self) -> str:
        """Values: the key, the regular columns, a time in microseconds, a TTL in seconds (0: none)."""
        names = [*self._key, *self._regular]
        return self._insert(names) + " USING TIMESTAMP ? AND TTL ?"

    @property
    def insert_static(self) -> str:
        """Values: the partition key, the static columns, a time, a TTL. Makes no row."""
        return self._insert([*self._partition, *self._static]) + " USING TIMESTAMP ? AND TTL ?"

    @property
    def update(self) -> str:
        """Values: a time, a TTL, the regular columns, the key. Makes no row marker."""
        changes = ", ".join(f"{quote(name)} = ?" for name in self._regular)
        return f"UPDATE {self._table} USING TIMESTAMP ? AND TTL ? SET {changes} WHERE {_equal(self._key)}"

    @property
    def marker(self) -> str:
        """Values: the key, a time, a TTL. A row without values."""
        return self._insert(self._key) + " USING TIMESTAMP ? AND TTL ?"

    @property
    def delete(self) -> str:
        """Values: a time, the key."""
        return f"DELETE FROM {self._table} USING TIMESTAMP ? WHERE {_equal(self._key)}"

    @property
    def delete_static(self) -> str:
        """Values: a time, the partition key. Deletes the static columns, no row."""
        return f"DELETE {listed(self._static)} FROM {self._table} USING TIMESTAMP ? WHERE {_equal(self._partition)}"

    def _insert(self, names: list[str]) -> str:
        return f"INSERT INTO {self._table} ({listed(names)}) VALUES ({', '.join('?' * len(names))})"


def _equal(names: Sequence[str]) -> str:
    return " AND ".join(f"{quote(name)} = ?" for name in names)
