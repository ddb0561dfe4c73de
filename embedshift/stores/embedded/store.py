"""The embedded store: each method of the contract is one call of another module in this folder."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import SchemaError
from embedshift.settings import StoreSettings
from embedshift.stores.contract import Store
from embedshift.stores.embedded import index_catalog
from embedshift.stores.embedded import rows as table_rows
from embedshift.stores.embedded.connection import Connections
from embedshift.stores.embedded.indexes import Indexes
from embedshift.stores.embedded.records import EmbeddedRecords
from embedshift.stores.embedded.schema import Schema
from embedshift.stores.model import (
    NO_CONDITION,
    NO_OPTIONS,
    Column,
    Estimate,
    Hit,
    Index,
    IndexSize,
    IndexState,
    Piece,
    Rejection,
    SecondaryIndex,
    Table,
    WrittenIf,
    drained,
    new_latencies,
)
from embedshift.tokens import WHOLE_RING, TokenRange


@final
class EmbeddedStore(Store):
    """The store contract on one SQLite file, with USearch indexes in files next to it.

    Several threads and several processes may use one file at once, each process with a store that it opened itself
    or inherited by a fork. One of them writes at a time.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._schema = Schema(connections)
        self._indexes = Indexes(connections)
        self._records = EmbeddedRecords(connections)
        self._latencies = new_latencies()

    @classmethod
    def open(cls, settings: StoreSettings) -> EmbeddedStore:
        """Open the file of the settings, or create it with its folder.

        Raises:
            SchemaError: the settings name no file.
            StoreUnavailable: the file cannot be read and written, or belongs to another program.
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
        return f"embedded store (SQLite {sqlite3.sqlite_version}) in {self._connections.path}"

    @property
    def records(self) -> EmbeddedRecords:
        return self._records

    def close(self) -> None:
        self._connections.close()

    def create_keyspaces(self) -> list[str]:
        """A file has no keyspaces."""
        return []

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name; capital and small letters are the same."""
        return self._schema.exists(table)

    def describe(self, table: str) -> Table:
        return self._schema.describe(table)

    def table_id(self, table: str) -> str:
        return self._schema.table_id(table)

    def options(self, table: str) -> Mapping[str, str]:
        """None: a file has no options by table."""
        return NO_OPTIONS

    def set_options(self, table: str, options: Mapping[str, str]) -> None:
        """Refused: see ``options``."""
        raise SchemaError(f"{table} has no options here", hint="leave them out")

    def secondary_indexes(self, table: str, vector: str) -> list[SecondaryIndex]:
        """None: there are only indexes of vectors."""
        return []

    def create_secondary(self, index: SecondaryIndex, table: str) -> None:
        """Refused: see ``secondary_indexes``."""
        raise SchemaError(f"{table} can only have indexes of vectors here", hint="leave it out")

    def secondary_serving(self, name: str) -> bool:
        """None is ever built, so none is waited for."""
        return True

    def create(self, table: Table, options: Mapping[str, str] = NO_OPTIONS) -> None:
        if options:
            raise SchemaError(f"{table.name} cannot have options here", hint="leave them out")
        self._schema.create(table)

    def add_column(self, table: str, column: Column) -> None:
        self._schema.add_column(table, column)

    def set_row_ttl(self, table: str, column: str) -> None:
        """Refused: this store expires cells alone."""
        raise SchemaError(f"the rows of {table} cannot expire by {column} here", hint="write the cells with a TTL")

    def drop(self, table: str) -> None:
        with self._connections.transaction() as connection:
            indexes = index_catalog.names_of(connection, table)
            for name in indexes:
                index_catalog.remove(connection, name)
            self._schema.drop(connection, table)
        for name in indexes:
            self._indexes.drop(name)

    def reads(self, table: str) -> int | None:
        """A file does not count who reads it."""
        return None

    def snapshot(self, table: str) -> str:
        """Copy the whole file to a new file next to it.

        Raises:
            SchemaError: there is such a copy already.
        """
        return f"all tables, as they were, in {self._connections.copy(f'before-{table}-was-dropped')}"

    def estimate(self, table: str) -> Estimate:
        """The exact number of rows, including deleted ones; the bytes are estimated from the first rows."""
        return self._schema.estimate(table)

    def ring(self, table: str) -> list[Piece]:
        """The whole ring, as one piece."""
        self._schema.describe(table)
        return [Piece(WHOLE_RING)]

    def remarks(self, table: Table) -> list[str]:
        """This store can copy everything that it keeps."""
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
        described = self._schema.describe(table.name)
        return table_rows.scan(self._connections, described, within, values=values, times=times, batch_rows=batch_rows)

    def fetch(
        self, table: Table, keys: pa.RecordBatch, *, values: Sequence[str] = (), times: Sequence[str] = ()
    ) -> pa.RecordBatch:
        return table_rows.fetch(self._connections, self._schema.describe(table.name), keys, values, times)

    def write(self, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
        """Write all rows in one transaction: if it fails, no row is written."""
        described, started = self._schema.describe(table.name), time.monotonic()
        rejected = table_rows.write(self._connections, described, rows)
        self._latencies.append(time.monotonic() - started)
        return rejected

    def delete(self, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        table_rows.delete(self._connections, self._schema.describe(table.name), keys, write_times)

    def write_floor(self, table: str) -> int | None:
        """None: the index sees every write, whatever its time."""
        return None

    def write_if(self, table: Table, rows: pa.RecordBatch, seen: pa.RecordBatch) -> WrittenIf:
        """All rows in one transaction."""
        return table_rows.write_if(self._connections, self._schema.describe(table.name), rows, seen)

    def latencies(self) -> list[float]:
        return drained(self._latencies)

    def keeps_changes(self, table: Table) -> bool:
        """This store keeps no change log."""
        return False

    def lacks_changes(self, table: Table, since_us: int) -> str:
        """This store keeps no change log."""
        return "the store keeps no change log"

    def changes(self, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
        """This store keeps no change log: always raises SchemaError."""
        raise SchemaError(f"{table.name} has no change log: the embedded store keeps none", hint="feed it JSON lines")

    def holds_several_indexes(self) -> bool:
        return False

    def index_on(self, table: str, column: str) -> Index | None:
        with self._connections.borrow() as connection:
            entries = [index_catalog.read(connection, name) for name in index_catalog.names_of(connection, table)]
        return next((entry.index for entry in entries if entry and entry.index.column == column), None)

    def check_index(self, index: Index) -> None:
        index_catalog.check_options(index)

    def create_index(self, index: Index) -> None:
        """Build an index; when this returns, it serves."""
        self._indexes.create(index)

    def index_state(self, index: Index) -> IndexState:
        return self._indexes.state(index)

    def index_size(self, index: Index, rows: int) -> IndexSize:
        """Measured as the size of the index file."""
        return self._indexes.size(index, rows)

    def drop_index(self, index: Index) -> None:
        self._indexes.drop(index.name)

    def search(
        self,
        table: Table,
        index: Index,
        query: NDArray[np.float32],
        k: int,
        *,
        values: Sequence[str] = (),
        where: Mapping[str, Any] = NO_CONDITION,
    ) -> list[Hit]:
        return self._indexes.search(table, index, query, k, values, where)
