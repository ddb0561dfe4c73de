"""The catalog's rows, with compare-and-set by lightweight transactions.

A lightweight transaction that times out may have been applied, or may be applied yet. It is never sent again blindly:
the row is read at the serial consistency, which first ends what is in progress, and what is found there decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cassandra.query import BoundStatement

from jobs.errors import SchemaError, StoreUnavailable
from jobs.stores.cql import faults, flight
from jobs.stores.cql.names import listed, qualified, quote
from jobs.stores.cql.schema import keyspace_exists
from jobs.stores.cql.session import CATALOG, SERIAL, Link
from jobs.stores.record import Record, RecordTable

PREFIX = "embedshift_"


class CqlRecords:
    """Implements ``record.Records`` in the catalog's keyspace."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._keyspace = link.settings.catalog.keyspace or link.keyspace

    def ensure(self, tables: Sequence[RecordTable]) -> None:
        """Create what is missing. Raises SchemaError where the keyspace is."""
        present = self._present()
        missing = [table for table in tables if physical_name(table.name) not in present]
        if missing and not keyspace_exists(self._link, self._keyspace):
            raise SchemaError(
                f"{self._link.where} has no keyspace {self._keyspace} for the catalog",
                hint="create it: embedshift schema apply",
            )
        for table in missing:
            self._link.define(creation(self._keyspace, table), f"creating the catalog's table {table.name}")

    def has(self, table: RecordTable) -> bool:
        """Whether the table is there."""
        return physical_name(table.name) in self._present()

    def _present(self) -> set[str]:
        query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?"
        return {row["table_name"] for row in self._link.rows(query, (self._keyspace,), doing="looking for the catalog")}

    def get(self, table: RecordTable, key: Record) -> Record | None:
        """The row of that full primary key, read serially: every acknowledged compare-and-set is seen."""
        found = self._read(table, key, SERIAL)
        return found[0] if found else None

    def select(self, table: RecordTable, partition: Record) -> Iterator[Record]:
        """The rows of one partition in clustering order, or of the whole table, at a quorum."""
        yield from self._read(table, partition, CATALOG)

    def put(self, table: RecordTable, rows: Sequence[Record]) -> None:
        """Write rows, over what was there; returns once all are acknowledged."""
        requests = []
        for row in rows:
            query = f"INSERT INTO {self._name(table)} ({listed(list(row))}) VALUES ({_marks(row)})"
            requests.append(self._link.prepare(query).bind(list(row.values())))
        flight.send(self._link, requests, CATALOG, doing=f"writing {table.name}")

    def insert(self, table: RecordTable, row: Record) -> bool:
        """Write a row that must not be there yet; False, and nothing written, where it is."""
        query = f"INSERT INTO {self._name(table)} ({listed(list(row))}) VALUES ({_marks(row)}) IF NOT EXISTS"
        statement = self._link.prepare(query, idempotent=False).bind(list(row.values()))
        key = {name: row[name] for name in table.keys}
        return self._decided(
            statement, table, key, applied=lambda found: _holds(found, row), open_still=lambda found: found is None
        )

    def update_if(self, table: RecordTable, key: Record, changes: Record, expected: Record) -> bool:
        """Change the row only while every column of ``expected`` holds that value (None: holds none)."""
        if all(value is None for value in expected.values()) and self.get(table, key) is None:
            return False  # CQL would find the conditions true of a row that is not there, and make it
        setting = ", ".join(f"{quote(name)} = ?" for name in changes)
        query = (
            f"UPDATE {self._name(table)} SET {setting} WHERE {_equal(key)} "
            f"IF {_equal(expected) if expected else 'EXISTS'}"
        )
        values = [*changes.values(), *key.values(), *expected.values()]
        statement = self._link.prepare(query, idempotent=False).bind(values)
        return self._decided(
            statement,
            table,
            key,
            applied=lambda found: _holds(found, changes),
            open_still=lambda found: _holds(found, expected),
        )

    def delete(self, table: RecordTable, *keys: Record) -> None:
        """Delete rows, or with a partition key alone all rows of that partition; returns once all is acknowledged."""
        requests = []
        for key in keys:
            query = f"DELETE FROM {self._name(table)} WHERE {_equal(key)}"
            requests.append(self._link.prepare(query).bind(list(key.values())))
        flight.send(self._link, requests, CATALOG, doing=f"deleting from {table.name}")

    def _name(self, table: RecordTable) -> str:
        return qualified(self._keyspace, physical_name(table.name))

    def _read(self, table: RecordTable, key: Record, profile: Any) -> list[Record]:
        names = [*table.keys, *table.columns]
        columns = [*dict.fromkeys(names)]
        where = f" WHERE {_equal(key)}" if key else ""
        query = f"SELECT {listed(columns)} FROM {self._name(table)}{where}"
        return self._link.rows(query, list(key.values()), doing=f"reading {table.name}", profile=profile)

    def _decided(
        self,
        statement: BoundStatement,
        table: RecordTable,
        key: Record,
        *,
        applied: Callable[[Record | None], bool],
        open_still: Callable[[Record | None], bool],
    ) -> bool:
        """Send a transaction; where its answer is lost, find out what became of it.

        Args:
            applied: whether a row, as read back, shows that the transaction took place.
            open_still: whether it shows that its condition still holds, so that it may be sent again.
        """
        deadline = time.monotonic() + self._link.patience.total_seconds()
        pause = 0.05
        while True:
            try:
                answer = self._link.session.execute(statement, execution_profile=CATALOG)
                return bool(answer.was_applied)
            except faults.RAISED as error:
                if not faults.is_transient(error):
                    raise self._link.failed(error, f"changing {table.name}") from error
                lost = error
            found = self.get(table, key)
            if applied(found):
                return True
            if not open_still(found):
                return False
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(
                    f"nobody knows whether a change of {table.name} took place ({faults.server_words(lost)})",
                    hint="run again once the nodes answer",
                ) from lost
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


def physical_name(name: str) -> str:
    """The name of a catalog table in the cluster; the alias tables keep theirs, which applications read."""
    return name if name.startswith("embedding_") else f"{PREFIX}{name}"


def creation(keyspace: str, table: RecordTable) -> str:
    """The CREATE TABLE statement of a catalog table; key columns without a type are text."""
    types = {name: table.columns.get(name, "text") for name in table.keys} | dict(table.columns)
    columns = ", ".join(f"{quote(name)} {kind}" for name, kind in types.items())
    clustering = "".join(f", {quote(name)}" for name in table.clustering)
    return (
        f"CREATE TABLE IF NOT EXISTS {qualified(keyspace, physical_name(table.name))} "
        f"({columns}, PRIMARY KEY (({listed(table.partition)}){clustering}))"
    )


def _marks(row: Record) -> str:
    return ", ".join("?" * len(row))


def _equal(values: Record) -> str:
    return " AND ".join(f"{quote(name)} = ?" for name in values)


def _holds(found: Record | None, values: Record) -> bool:
    return found is not None and all(found.get(name) == value for name, value in values.items())
