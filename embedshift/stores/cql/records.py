"""The catalog's rows, with compare-and-set by lightweight transactions.

A lightweight transaction that times out may have been applied, or may still be applied. It is never sent again without
a check: the row is read at the serial consistency, which first completes what is in progress, and its content decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

from cassandra.query import BoundStatement

from embedshift.errors import SchemaError, StoreUnavailable
from embedshift.stores.cql import driver_errors, inflight
from embedshift.stores.cql.quoting import listed, qualified, quote
from embedshift.stores.cql.schema import keyspace_exists
from embedshift.stores.cql.session import CATALOG, SERIAL, CqlConnection
from embedshift.stores.records import Record, Records, RecordTable

PREFIX = "embedshift_"


@final
class CqlRecords(Records):
    """The catalog's rows in a keyspace of the cluster."""

    def __init__(self, connection: CqlConnection) -> None:
        self._connection = connection
        self._keyspace = connection.settings.catalog.keyspace or connection.keyspace

    def ensure(self, tables: Sequence[RecordTable]) -> None:
        present = self._present()
        missing = [table for table in tables if physical_name(table.name) not in present]
        if missing and not keyspace_exists(self._connection, self._keyspace):
            raise SchemaError(
                f"{self._connection.where} has no keyspace {self._keyspace} for the catalog",
                hint="create it: embedshift schema apply",
            )
        for table in missing:
            self._connection.define(creation(self._keyspace, table), f"creating the catalog's table {table.name}")

    def has(self, table: RecordTable) -> bool:
        return physical_name(table.name) in self._present()

    def _present(self) -> set[str]:
        query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?"
        return {
            row["table_name"]
            for row in self._connection.rows(query, (self._keyspace,), doing="looking for the catalog")
        }

    def columns(self, table: RecordTable) -> frozenset[str]:
        query = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?"
        key = (self._keyspace, physical_name(table.name))
        found = self._connection.rows(query, key, doing=f"looking at the columns of {table.name}")
        return frozenset(row["column_name"] for row in found)

    def add_columns(self, table: RecordTable) -> None:
        present = self.columns(table)
        for name, kind in table.columns.items():
            if name not in present:
                self._add_column(table, name, kind)

    def _add_column(self, table: RecordTable, name: str, kind: str) -> None:
        try:
            statement = f"ALTER TABLE {self._name(table)} ADD {quote(name)} {kind}"
            self._connection.define(statement, f"adding {name} to {table.name}")
        except SchemaError:
            # Another process may have added it in this moment.
            if name not in self.columns(table):
                raise

    def get(self, table: RecordTable, key: Record) -> Record | None:
        """Read at the serial consistency, which completes a compare-and-set that is in progress."""
        found = self._read(table, key, SERIAL)
        return found[0] if found else None

    def select(self, table: RecordTable, partition: Record) -> Iterator[Record]:
        """Read at a quorum, the consistency at which compare-and-set commits."""
        yield from self._read(table, partition, CATALOG)

    def put(self, table: RecordTable, rows: Sequence[Record]) -> None:
        requests = []
        for row in rows:
            query = f"INSERT INTO {self._name(table)} ({listed(list(row))}) VALUES ({_marks(row)})"
            requests.append(self._connection.prepare(query).bind(list(row.values())))
        inflight.send(self._connection, requests, CATALOG, doing=f"writing {table.name}")

    def insert(self, table: RecordTable, row: Record) -> bool:
        query = f"INSERT INTO {self._name(table)} ({listed(list(row))}) VALUES ({_marks(row)}) IF NOT EXISTS"
        statement = self._connection.prepare(query, idempotent=False).bind(list(row.values()))
        key = {name: row[name] for name in table.keys}
        return self._decided(
            statement, table, key, applied=lambda found: _holds(found, row), open_still=lambda found: found is None
        )

    def update_if(self, table: RecordTable, key: Record, changes: Record, expected: Record) -> bool:
        if all(value is None for value in expected.values()) and self.get(table, key) is None:
            return False  # for CQL these conditions are true of a row that does not exist, and it would create the row
        setting = ", ".join(f"{quote(name)} = ?" for name in changes)
        query = (
            f"UPDATE {self._name(table)} SET {setting} WHERE {_equal(key)} "
            f"IF {_equal(expected) if expected else 'EXISTS'}"
        )
        values = [*changes.values(), *key.values(), *expected.values()]
        statement = self._connection.prepare(query, idempotent=False).bind(values)
        return self._decided(
            statement,
            table,
            key,
            applied=lambda found: _holds(found, changes),
            open_still=lambda found: _holds(found, expected),
        )

    def delete_if(self, table: RecordTable, key: Record, expected: Record) -> bool:
        condition = _equal(expected) if expected else "EXISTS"
        query = f"DELETE FROM {self._name(table)} WHERE {_equal(key)} IF {condition}"
        statement = self._connection.prepare(query, idempotent=False).bind([*key.values(), *expected.values()])
        if self.get(table, key) is None:
            return False  # of a row that does not exist, CQL holds every comparison with None to be true
        return self._decided(
            statement,
            table,
            key,
            applied=lambda found: found is None,
            open_still=lambda found: _holds(found, expected),
        )

    def delete(self, table: RecordTable, *keys: Record) -> None:
        requests = []
        for key in keys:
            query = f"DELETE FROM {self._name(table)} WHERE {_equal(key)}"
            requests.append(self._connection.prepare(query).bind(list(key.values())))
        inflight.send(self._connection, requests, CATALOG, doing=f"deleting from {table.name}")

    def _name(self, table: RecordTable) -> str:
        return qualified(self._keyspace, physical_name(table.name))

    def _read(self, table: RecordTable, key: Record, profile: Any) -> list[Record]:
        names = [*table.keys, *table.columns]
        columns = [*dict.fromkeys(names)]
        where = f" WHERE {_equal(key)}" if key else ""
        query = f"SELECT {listed(columns)} FROM {self._name(table)}{where}"
        return self._connection.rows(query, list(key.values()), doing=f"reading {table.name}", profile=profile)

    def _decided(
        self,
        statement: BoundStatement,
        table: RecordTable,
        key: Record,
        *,
        applied: Callable[[Record | None], bool],
        open_still: Callable[[Record | None], bool],
    ) -> bool:
        """Send a transaction. If its answer is lost, find out whether it was applied.

        Args:
            applied: whether a row, as read back, shows that the transaction was applied.
            open_still: whether it shows that its condition still holds, so that it may be sent again.
        """
        deadline = time.monotonic() + self._connection.patience.total_seconds()
        pause = 0.05
        while True:
            try:
                answer = self._connection.session.execute(statement, execution_profile=CATALOG)
                return bool(answer.was_applied)
            except driver_errors.RAISED as error:
                if not driver_errors.is_transient(error):
                    raise self._connection.failed(error, f"changing {table.name}") from error
                lost = error
            found = self.get(table, key)
            if applied(found):
                return True
            if not open_still(found):
                return False
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(
                    f"it is unknown whether a change of {table.name} was applied ({driver_errors.server_words(lost)})",
                    hint="run again when the nodes answer",
                ) from lost
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


def physical_name(name: str) -> str:
    """The name of a catalog table in the cluster. The alias tables keep their names: applications read them."""
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
