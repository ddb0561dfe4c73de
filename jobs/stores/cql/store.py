"""A ScyllaDB or Cassandra cluster as a store of articles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.settings import StoreSettings
from jobs.stores.contract import Column, Estimate, Hit, Index, IndexSize, IndexState, Piece, Rejection, Table
from jobs.stores.cql import changes, fetch, indexes, ring, scan, schema, search, snapshots, write
from jobs.stores.cql.dialects import Dialect, detect
from jobs.stores.cql.projection import Projection
from jobs.stores.cql.records import CqlRecords
from jobs.stores.cql.session import Link
from jobs.stores.latencies import drained
from jobs.stores.record import Records
from jobs.tokens import TokenRange


class CqlStore:
    """Implements ``contract.Store`` on a cluster.

    One store is one session: open one a process, and use it from as many threads as needed. After a fork the child
    opens connections of its own.
    """

    def __init__(self, link: Link, dialect: Dialect) -> None:
        self._link = link
        self._dialect = dialect
        self._records = CqlRecords(link)

    @classmethod
    def open(cls, settings: StoreSettings) -> CqlStore:
        """Connect, and find out which server answers. The keyspaces need not exist yet.

        Raises:
            SettingsError: the datacenter, a consistency level or a file is wrong.
            StoreUnavailable: no node answers, or none to us (password, certificate).
        """
        link = Link(settings)
        try:
            return cls(link, detect(link))
        except BaseException:
            link.close()
            raise

    @property
    def label(self) -> str:
        """Such as ``Apache Cassandra 5.0.5 at 127.0.0.1:9042``."""
        return f"{self._dialect.product} {self._dialect.version} at {self._link.where}"

    @property
    def records(self) -> Records:
        """The catalog's rows, in ``store.catalog.keyspace`` or beside the tables."""
        return self._records

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        self._link.close()

    def create_keyspaces(self) -> list[str]:
        """Create the keyspaces of the tables and of the catalog where they are missing; returns the names created."""
        return schema.create_keyspaces(self._link, self._dialect)

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name."""
        return schema.exists(self._link, table)

    def describe(self, table: str) -> Table:
        """The table's columns. Raises SchemaError where it does not exist or counts."""
        return schema.describe(self._link, table, self._dialect)

    def create(self, table: Table) -> None:
        """Create a table, empty. Raises SchemaError where the name is taken or a type is unknown."""
        schema.create(self._link, table)

    def add_column(self, table: str, column: Column) -> None:
        """Add a regular column to a table that lives. Raises SchemaError where the name is taken."""
        schema.add_column(self._link, table, column)

    def drop(self, table: str) -> None:
        """Drop a table with its indexes; no error where it is gone already."""
        schema.drop(self._link, table)

    def reads(self, table: str) -> int | None:
        """How often the table has been read, by the nodes' own count; None where they cannot say."""
        return self._dialect.reads(self._link, table)

    def snapshot(self, table: str) -> str:
        """Whether every node keeps a snapshot of what is dropped; CQL knows no other way to one.

        Raises:
            SchemaError: a node keeps none.
        """
        return snapshots.snapshot(self._link, self._dialect, table)

    def estimate(self, table: str) -> Estimate:
        """Rows by size estimates and by how densely a few places of the ring are populated; bytes by the estimates."""
        return ring.estimate(self._link, self.describe(table))

    def ring(self, table: str) -> list[Piece]:
        """The whole ring once, in order, as the table's tablets or the nodes' vnodes."""
        return ring.ring(self._link, self._dialect, table)

    def remarks(self, table: Table) -> list[str]:
        """What copying this table cannot keep, a line each."""
        return schema.remarks(table, self._dialect)

    def scan(
        self,
        table: Table,
        within: TokenRange,
        *,
        values: Sequence[str] = (),
        times: Sequence[str] = (),
        batch_rows: int = 1000,
    ) -> Iterator[pa.RecordBatch]:
        """Live rows of a token range in token order (``contract.Store.scan``)."""
        return scan.scan(self._link, Projection(table, self._dialect, values, times), within, batch_rows)

    def fetch(
        self, table: Table, keys: pa.RecordBatch, *, values: Sequence[str] = (), times: Sequence[str] = ()
    ) -> pa.RecordBatch:
        """The live rows of these primary keys, in any order (``contract.Store.fetch``)."""
        return fetch.fetch(self._link, Projection(table, self._dialect, values, times), keys)

    def write(self, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
        """Write cells at their own times (``contract.Store.write``)."""
        return write.write(self._link, table, rows)

    def delete(self, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        """Delete whole rows, each at its own time (``contract.Store.delete``)."""
        write.delete(self._link, table, keys, write_times)

    def latencies(self) -> list[float]:
        """Seconds that each request of ``write`` and ``delete`` took since this was last asked."""
        return drained(self._link.took)

    def keeps_changes(self, table: Table) -> bool:
        """Whether there is a change log that names every row; see ``changes.names_every_row``."""
        return changes.names_every_row(self._link, table)

    def changes(self, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
        """Primary keys of rows written in a span of time, by the table's change log; see ``Store.changes``."""
        return changes.changes(self._link, table, within, after_us, until_us)

    def index_on(self, table: str, column: str) -> Index | None:
        """The vector index of a column, under whatever name it was made, with the options that it has; None: none."""
        return indexes.index_on(self._link, self._dialect, table, column)

    def check_index(self, index: Index) -> None:
        """Raises SchemaError where this server cannot build the index."""
        indexes.check_index(self._link, self._dialect, index)

    def create_index(self, index: Index) -> None:
        """Start to build an index; no error where the same one exists."""
        indexes.create_index(self._link, self._dialect, index)

    def index_state(self, index: Index) -> IndexState:
        """How far the index is."""
        return indexes.index_state(self._link, self._dialect, index)

    def index_size(self, index: Index, rows: int) -> IndexSize:
        """Measured where the server tells, else by its formula (``contract.Store.index_size``)."""
        return self._dialect.index_size(self._link, index, rows)

    def drop_index(self, index: Index) -> None:
        """Drop the index; no error where it is gone already."""
        indexes.drop_index(self._link, index)

    def search(
        self, table: Table, index: Index, query: NDArray[np.float32], k: int, *, values: Sequence[str] = ()
    ) -> list[Hit]:
        """The ``k`` nearest live rows, nearest first (``contract.Store.search``)."""
        return search.search(self._link, self._dialect, table, index, query, k, values)
