"""The embedded store: every method of the contract, each one call into a module beside this one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.errors import SchemaError
from jobs.settings import StoreSettings
from jobs.stores.contract import (
    Column,
    Estimate,
    Hit,
    Index,
    IndexSize,
    IndexState,
    Piece,
    Rejection,
    Table,
)
from jobs.stores.embedded import index_catalog
from jobs.stores.embedded import rows as stored
from jobs.stores.embedded.connection import Connections
from jobs.stores.embedded.records import EmbeddedRecords
from jobs.stores.embedded.schema import Schema
from jobs.stores.embedded.vectors import Indexes
from jobs.stores.latencies import drained, new_latencies
from jobs.tokens import WHOLE_RING, TokenRange


class EmbeddedStore:
    """A store in one SQLite file, with a USearch index beside it; see ``stores.contract.Store``.

    Several threads and several processes may use one file at once, each process with a store that it opened itself
    or inherited by a fork. Writes of all of them take turns.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._schema = Schema(connections)
        self._indexes = Indexes(connections)
        self._records = EmbeddedRecords(connections)
        self._took = new_latencies()

    @classmethod
    def open(cls, settings: StoreSettings) -> EmbeddedStore:
        """Open the file of the settings, or create it with its folder.

        Raises:
            SchemaError: the settings name no file.
            StoreUnavailable: the file cannot be read and written, or is none of ours.
        """
        if settings.path is None:
            raise SchemaError("an embedded store needs store.path", hint="name its SQLite file")
        connections = Connections(settings.path.absolute(), settings.request_timeout)
        try:
            return cls(connections)
        except BaseException:
            connections.close()
            raise

    @property
    def label(self) -> str:
        """What it is and where, for people."""
        return f"embedded store (SQLite {sqlite3.sqlite_version}) in {self._connections.path}"

    @property
    def records(self) -> EmbeddedRecords:
        """Where the catalog keeps its rows."""
        return self._records

    def close(self) -> None:
        """Give back connections and files; a second call does nothing."""
        self._connections.close()

    def create_keyspaces(self) -> list[str]:
        """Nothing: a file has no keyspaces."""
        return []

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name, in capital letters or small ones."""
        return self._schema.exists(table)

    def describe(self, table: str) -> Table:
        """The table's columns. Raises SchemaError where it does not exist."""
        return self._schema.describe(table)

    def create(self, table: Table) -> None:
        """Create a table, empty. Raises SchemaError where the name is taken, or a column is static or unknown."""
        self._schema.create(table)

    def add_column(self, table: str, column: Column) -> None:
        """Add a regular column. Raises SchemaError where there is one of that name."""
        self._schema.add_column(table, column)

    def drop(self, table: str) -> None:
        """Drop a table with its indexes; no error where it is gone already."""
        with self._connections.transaction() as connection:
            indexes = index_catalog.names_of(connection, table)
            for name in indexes:
                index_catalog.remove(connection, name)
            self._schema.drop(connection, table)
        for name in indexes:
            self._indexes.drop(name)

    def reads(self, table: str) -> int | None:
        """None: a file does not count who reads it."""
        return None

    def snapshot(self, table: str) -> str:
        """A copy of the whole file, beside it.

        Raises:
            SchemaError: there is one already.
            StoreUnavailable: it cannot be written.
        """
        return f"all tables, as they were, in {self._connections.copy(f'before-{table}-was-dropped')}"

    def estimate(self, table: str) -> Estimate:
        """How many rows there are, and about how many bytes they take."""
        return self._schema.estimate(table)

    def ring(self, table: str) -> list[Piece]:
        """The whole ring, as one piece. Raises SchemaError where the table does not exist."""
        self._schema.describe(table)
        return [Piece(WHOLE_RING)]

    def remarks(self, table: Table) -> list[str]:
        """Nothing: what this store keeps, it can also copy."""
        return []

    def scan(
        self,
        table: Table,
        within: TokenRange,
        *,
        values: Sequence[str] = (),
        times: Sequence[str] = (),
        batch_rows: int = 1000,
    ) -> Iterator[pa.RecordBatch]:
        """Live rows of a token range in token order, keys always included; see ``Store.scan``.

        Raises:
            SchemaError: the table or a column does not exist.
        """
        described = self._schema.describe(table.name)
        return stored.scan(self._connections, described, within, values=values, times=times, batch_rows=batch_rows)

    def fetch(
        self, table: Table, keys: pa.RecordBatch, *, values: Sequence[str] = (), times: Sequence[str] = ()
    ) -> pa.RecordBatch:
        """The live rows of these primary keys, each once; see ``Store.fetch``."""
        return stored.fetch(self._connections, self._schema.describe(table.name), keys, values, times)

    def write(self, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
        """Write cells at their own times, all in one transaction; see ``Store.write``.

        Raises:
            SchemaError: a column does not exist.
            InputError: a column has another type, or lacks its write times.
            StoreUnavailable: nothing was written.
        """
        described, started = self._schema.describe(table.name), time.monotonic()
        rejected = stored.write(self._connections, described, rows)
        self._took.append(time.monotonic() - started)
        return rejected

    def delete(self, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        """Delete whole rows, each at its own time in microseconds (shape (n,)); newer cells stay."""
        stored.delete(self._connections, self._schema.describe(table.name), keys, write_times)

    def latencies(self) -> list[float]:
        """Seconds that each transaction of ``write`` took since this was last asked."""
        return drained(self._took)

    def keeps_changes(self, table: Table) -> bool:
        """Never: this store keeps no change log."""
        return False

    def changes(self, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
        """Nothing can be said: this store keeps no change log."""
        raise SchemaError(f"{table.name} has no change log: the embedded store keeps none", hint="feed it JSON lines")

    def index_on(self, table: str, column: str) -> Index | None:
        """The vector index of a column, under whatever name it was made, with the options that it has; None: none."""
        with self._connections.borrow() as connection:
            entries = [index_catalog.read(connection, name) for name in index_catalog.names_of(connection, table)]
        return next((entry.index for entry in entries if entry and entry.index.column == column), None)

    def check_index(self, index: Index) -> None:
        """Raises SchemaError, naming the option and what to write instead, where this store cannot build it."""
        index_catalog.check_options(index)

    def create_index(self, index: Index) -> None:
        """Build an index; when this returns, it serves. No error where the same one exists.

        Raises:
            SchemaError: another one of that name exists, or it cannot be built.
        """
        self._indexes.create(index)

    def index_state(self, index: Index) -> IndexState:
        """How far the index is."""
        return self._indexes.state(index)

    def index_size(self, index: Index, rows: int) -> IndexSize:
        """Of the file where it is written, else of ``rows`` as USearch lays them out."""
        return self._indexes.size(index, rows)

    def drop_index(self, index: Index) -> None:
        """Drop the index; no error where it is gone already."""
        self._indexes.drop(index.name)

    def search(
        self, table: Table, index: Index, query: NDArray[np.float32], k: int, *, values: Sequence[str] = ()
    ) -> list[Hit]:
        """The ``k`` nearest live rows to a vector of shape (dimension,), nearest first; see ``Store.search``.

        Raises:
            InputError: the vector has another dimension, is zero or not finite.
            SchemaError: there is no such index.
            StoreUnavailable: the index is not built yet.
        """
        return self._indexes.search(table, index, query, k, values=values)
