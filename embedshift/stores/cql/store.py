"""A ScyllaDB or Cassandra cluster as a store of articles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import NotPermitted, SchemaError
from embedshift.settings import StoreSettings
from embedshift.stores.contract import Store
from embedshift.stores.cql import cdc, indexes, read, ring, row_ttl, schema, search, twin, write
from embedshift.stores.cql.cassandra import Cassandra
from embedshift.stores.cql.dialect import Dialect
from embedshift.stores.cql.projection import Projection
from embedshift.stores.cql.records import CqlRecords
from embedshift.stores.cql.scylla import Scylla
from embedshift.stores.cql.session import CqlConnection
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
)
from embedshift.stores.records import Records
from embedshift.tokens import TokenRange


def detect(connection: CqlConnection) -> Dialect:
    """Ask the server which dialect it speaks: only ScyllaDB has a ``system.versions``."""
    doing = "asking for the server's version"
    try:
        found = connection.rows("SELECT version FROM system.versions WHERE key = 'local'", doing=doing)
    except NotPermitted:  # it is there, and not for everybody
        found = []
    except SchemaError:
        local = connection.rows("SELECT release_version FROM system.local", doing=doing)
        return Cassandra(local[0]["release_version"])
    return Scylla(found[0]["version"] if found else "", connection.settings)


@final
class CqlStore(Store):
    """The store contract on a cluster.

    One store is one session. Open one per process, and use it from as many threads as needed. After a fork the child
    opens connections of its own.
    """

    def __init__(self, connection: CqlConnection, dialect: Dialect) -> None:
        #: For statements that the contract does not have.
        self.connection = connection
        self._dialect = dialect
        self._records = CqlRecords(connection)

    @classmethod
    def open(cls, settings: StoreSettings) -> CqlStore:
        """Connect, and find out which server answers. The keyspaces need not exist yet.

        Raises:
            SettingsError: the datacenter, a consistency level or a file is wrong.
            StoreUnavailable: no node answers, or every node refuses this client (password, certificate).
        """
        connection = CqlConnection(settings)
        try:
            return cls(connection, detect(connection))
        except BaseException:
            connection.close()
            raise

    @property
    def label(self) -> str:
        named = f"{self._dialect.product} {self._dialect.version}".strip()
        return f"{named} at {self.connection.where}"

    @property
    def records(self) -> Records:
        """The catalog's rows, in ``store.catalog.keyspace`` or in the keyspace of the tables."""
        return self._records

    def close(self) -> None:
        self.connection.close()

    def create_keyspaces(self) -> list[str]:
        return schema.create_keyspaces(self.connection, self._dialect)

    def exists(self, table: str) -> bool:
        return schema.exists(self.connection, table)

    def describe(self, table: str) -> Table:
        return schema.describe(self.connection, table, self._dialect)

    def table_id(self, table: str) -> str:
        return schema.table_id(self.connection, table)

    def options(self, table: str) -> Mapping[str, str]:
        return twin.options_of(self.connection, table)

    def set_options(self, table: str, options: Mapping[str, str]) -> None:
        twin.set_options(self.connection, table, options)

    def secondary_indexes(self, table: str, vector: str) -> list[SecondaryIndex]:
        return twin.secondary_indexes(self.connection, table, vector)

    def create_secondary(self, index: SecondaryIndex, table: str) -> None:
        twin.create_secondary(self.connection, index, table)

    def secondary_serving(self, name: str) -> bool:
        return self._dialect.secondary_serving(self.connection, name)

    def create(self, table: Table, options: Mapping[str, str] = NO_OPTIONS) -> None:
        schema.create(self.connection, table, options)

    def add_column(self, table: str, column: Column) -> None:
        schema.add_column(self.connection, table, column)

    def set_row_ttl(self, table: str, column: str) -> None:
        row_ttl.give(self.connection, table, self.describe(table).row_ttl, column)

    def drop(self, table: str) -> None:
        schema.drop(self.connection, table)

    def reads(self, table: str) -> int | None:
        return self._dialect.reads(self.connection, table)

    def snapshot(self, table: str) -> str:
        """Check that every node keeps a snapshot of a table that is dropped: CQL cannot make one.

        Raises:
            SchemaError: a node keeps none.
        """
        return schema.snapshot(self.connection, self._dialect, table)

    def estimate(self, table: str) -> Estimate:
        return ring.estimate(self.connection, self.describe(table))

    def ring(self, table: str) -> list[Piece]:
        return ring.ring(self.connection, self._dialect, table)

    def remarks(self, table: Table) -> list[str]:
        return [*schema.remarks(table, self._dialect), *twin.dependents(self.connection, table.name)]

    def scan(
        self,
        table: Table,
        within: TokenRange,
        *,
        values: Sequence[str] = (),
        times: Sequence[str] = (),
        batch_rows: int = 1000,
    ) -> Iterator[pa.RecordBatch]:
        return read.scan(self.connection, Projection(table, self._dialect, values, times), within, batch_rows)

    def fetch(
        self, table: Table, keys: pa.RecordBatch, *, values: Sequence[str] = (), times: Sequence[str] = ()
    ) -> pa.RecordBatch:
        return read.fetch(self.connection, Projection(table, self._dialect, values, times), keys)

    def write(self, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
        return write.write(self.connection, table, rows, lambda: self.write_floor(table.name))

    def delete(self, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        write.delete(self.connection, table, keys, write_times)

    def write_floor(self, table: str) -> int | None:
        return self._dialect.write_floor(self.connection, table)

    def write_if(self, table: Table, rows: pa.RecordBatch, seen: pa.RecordBatch) -> WrittenIf:
        """Lightweight transactions, many at once."""
        return write.write_if(self.connection, table, rows, seen)

    def latencies(self) -> list[float]:
        """Seconds that each request of ``write`` and ``delete`` took."""
        return drained(self.connection.latencies)

    def keeps_changes(self, table: Table) -> bool:
        return cdc.has_log(self.connection, table.name)

    def lacks_changes(self, table: Table, since_us: int) -> str:
        return cdc.lacks(self.connection, table, since_us)

    def changes(self, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
        return cdc.changes(self.connection, table, within, after_us, until_us)

    def holds_several_indexes(self) -> bool:
        return self._dialect.several_indexes

    def index_on(self, table: str, column: str) -> Index | None:
        return indexes.index_on(self.connection, self._dialect, table, column)

    def check_index(self, index: Index) -> None:
        indexes.check_index(self.connection, self._dialect, index)

    def create_index(self, index: Index) -> None:
        indexes.create_index(self.connection, self._dialect, index)

    def index_state(self, index: Index) -> IndexState:
        return indexes.index_state(self.connection, self._dialect, index)

    def index_size(self, index: Index, rows: int) -> IndexSize:
        return self._dialect.index_size(self.connection, index, rows)

    def drop_index(self, index: Index) -> None:
        indexes.drop_index(self.connection, index)

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
        return search.search(self.connection, self._dialect, table, index, query, k, values, where)
