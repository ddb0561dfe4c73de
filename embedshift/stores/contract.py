"""What every store of articles can do, and the form in which rows travel.

Rows travel as Arrow record batches. A batch of a table has, in this order and only as far as requested:

* ``token()``: int64, the token of the partition key (scans only),
* the primary key's columns,
* other columns by name,
* ``writetime(c)``: int64, microseconds since the epoch, and ``ttl(c)``: int32, the remaining seconds, of a cell ``c``.

Vectors are fixed-size lists of float32. Types that embedshift need not understand travel as the store's own bytes
(see ``stores.cql_types``). A null value with a null write time is a cell that was never written: it stays unset. A null
value *with* a write time is the deletion of that cell at that time.

Of two writes of one cell the later wins. At equal times a deletion wins over a value, and the greater value over the
smaller.

The documentation of a store's methods is here. A store documents only what it does differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
)
from embedshift.stores.records import Records
from embedshift.tokens import TokenRange


class Store(Protocol):
    """A database of articles. Methods may be called from several threads.

    Every method may raise StoreUnavailable: the store does not answer, or its disk fails. Every method that is given
    a table may raise SchemaError: the table or one of the columns does not exist.
    """

    @property
    def label(self) -> str:
        """The product and where it runs, for people: ``Apache Cassandra 5.0.5 at 127.0.0.1:9042``. Never a secret."""

    @property
    def records(self) -> Records:
        """The rows of the catalog."""

    def close(self) -> None:
        """Close connections and files; a second call does nothing."""

    def create_keyspaces(self) -> list[str]:
        """Create the keyspaces that the settings name if they are missing.

        Returns:
            The names of those created; empty on a store without keyspaces.
        """

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name."""

    def describe(self, table: str) -> Table:
        """The table's columns: the primary key first, in its order.

        Raises:
            SchemaError: there is no such table, or it cannot be copied (counters).
        """

    def table_id(self, table: str) -> str:
        """What tells this table from any other that had, or will have, the same name.

        Raises:
            SchemaError: there is no such table.
        """

    def options(self, table: str) -> Mapping[str, str]:
        """The options of a table beside its columns, in the server's own words: ``{"comment": "'shop'"}``.

        Empty on a store without options, and if the server does not say.
        """

    def set_options(self, table: str, options: Mapping[str, str]) -> None:
        """Change options of a table that is in use; names and values as ``options`` gives them."""

    def secondary_indexes(self, table: str, vector: str) -> list[SecondaryIndex]:
        """Every index of a table but the one of a vector column; none on a store that has no others."""

    def create_secondary(self, index: SecondaryIndex, table: str) -> None:
        """Start to build an index like that on a table, under its name, unless there is one of that name."""

    def secondary_serving(self, name: str) -> bool:
        """Whether such an index can be used, as far as the store can tell."""

    def create(self, table: Table, options: Mapping[str, str] = NO_OPTIONS) -> None:
        """Create a table, empty, with options. Its rows do not expire by a column: ``set_row_ttl`` says so.

        Raises:
            SchemaError: the name is taken, there is no partition key, or the store does not support a type or a role.
        """

    def add_column(self, table: str, column: Column) -> None:
        """Add a regular column to a table that is in use.

        Raises:
            SchemaError: the table has a column of that name already.
        """

    def set_row_ttl(self, table: str, column: str) -> None:
        """Let the store delete each row some time after the time in a column; no error if it does so already.

        Args:
            table: the table.
            column: a regular column: a timestamp, or a number of seconds since the epoch. A row without it stays.

        Raises:
            SchemaError: rows expire by another column, the column cannot be one, or the store has no such expiry.
        """

    def drop(self, table: str) -> None:
        """Drop a table with its indexes; no error if there is none."""

    def reads(self, table: str) -> int | None:
        """How often the table has been read, as the servers count; None if they do not count.

        A server that restarts counts from 0.
        """

    def snapshot(self, table: str) -> str:
        """Make sure that a copy remains when the table is dropped.

        Returns:
            Where the copy is or will be, for people.

        Raises:
            SchemaError: the store keeps none.
        """

    def estimate(self, table: str) -> Estimate:
        """The store's own estimate of the table's size, without a scan."""

    def ring(self, table: str) -> list[Piece]:
        """The whole ring once, in order, as the pieces (vnodes, tablets) in which this table is stored."""

    def remarks(self, table: Table) -> list[str]:
        """What a copy of this table cannot keep, one line each, for ``prepare`` to print."""

    def scan(
        self,
        table: Table,
        within: TokenRange,
        *,
        values: Sequence[str] = (),
        times: Sequence[str] = (),
        batch_rows: int = 1000,
    ) -> Iterator[pa.RecordBatch]:
        """Live rows of a token range in token order, keys always included.

        Args:
            table: as described.
            within: the range.
            values: non-key columns whose values are read.
            times: non-key columns whose write time and remaining TTL are read, whether or not their values are.
            batch_rows: most rows in a batch. An empty range yields no batch.
        """

    def fetch(
        self, table: Table, keys: pa.RecordBatch, *, values: Sequence[str] = (), times: Sequence[str] = ()
    ) -> pa.RecordBatch:
        """The live rows of these primary keys, in any order, each once. Rows that do not exist are left out.

        Returns:
            A batch with the schema of a scan.

        Raises:
            InputError: a row of ``keys`` is not a key.
        """

    def write(self, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
        """Write cells at their own times; return once every row is acknowledged or rejected.

        Every non-key column ``c`` in ``rows`` needs ``writetime(c)``; ``ttl(c)`` may be left out. Safe to repeat.

        Returns:
            The rows that the store refused because of their content; all others are durable.

        Raises:
            SchemaError: a column does not exist, or a key column is missing.
            InputError: a column has another type, or no write times.
            StoreUnavailable: the rest could not be written, after retries; some rows may have been.
        """

    def delete(self, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        """Delete whole rows, each at its own time; newer cells stay.

        Args:
            table: as described.
            keys: a primary key a row.
            write_times: microseconds since the epoch, shape (n,).

        Raises:
            InputError: a row of ``keys`` is not a key.
        """

    def write_floor(self, table: str) -> int | None:
        """Before which time nothing may be written into a table, in microseconds; None if writes of any time may be.

        A table has a floor if a change log feeds its vector index. The store refuses what is older, and the index
        learns only of writes that arrive at about their own time: it reads the log forward, by write time.
        """

    def write_if(self, table: Table, rows: pa.RecordBatch, seen: pa.RecordBatch) -> WrittenIf:
        """Write cells at the store's present time, in rows that are still as they were seen. Makes no row.

        Args:
            table: as described.
            rows: a primary key a row, the columns to write (null: the cell is deleted), and perhaps ``ttl(c)``.
            seen: for the same rows in the same order, the values of columns as they must be.

        Raises:
            SchemaError: a column does not exist, or a key column is missing.
            StoreUnavailable: the rest could not be written, after retries; some rows may have been.
        """

    def latencies(self) -> list[float]:
        """Seconds that each write took since the last call of this method, the newest few thousand at most.

        A write is one request on a cluster, and one transaction in a file.
        """

    def keeps_changes(self, table: Table) -> bool:
        """Whether the table has a change log, perhaps one that has fallen silent."""

    def lacks_changes(self, table: Table, since_us: int) -> str:
        """Why ``changes`` cannot name every row that was written or deleted since then; empty if it can."""

    def changes(self, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
        """Primary keys of rows written in a span of time, from the table's change log; a key may come several times.

        Args:
            table: as described.
            within: a part of the log's own ring. Every change is in one part, not always in the part of its row.
            after_us: the start of the span, in microseconds since the epoch.
            until_us: its end.

        Raises:
            SchemaError: the table has no change log.
        """

    def holds_several_indexes(self) -> bool:
        """Whether a column may have several indexes, so that one can be built while another one serves."""

    def index_on(self, table: str, column: str) -> Index | None:
        """The vector index of a column, whatever its name, with the options that it has; None if there is none."""

    def check_index(self, index: Index) -> None:
        """Check that this store can build the index; build nothing.

        Raises:
            SchemaError: it cannot. The error names the option and what to write instead.
        """

    def create_index(self, index: Index) -> None:
        """Start to build an index; it may serve only later. No error if the same one exists.

        Raises:
            SchemaError: another index has that name, or this store cannot build this one.
        """

    def index_state(self, index: Index) -> IndexState:
        """How far the index is."""

    def index_size(self, index: Index, rows: int) -> IndexSize:
        """The size of an index: measured if it exists and the store can tell, else computed for ``rows``."""

    def drop_index(self, index: Index) -> None:
        """Drop the index; no error if there is none."""

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
        """The ``k`` nearest live rows to a vector, nearest first, keys always included.

        Args:
            table: as described.
            index: the index to search.
            query: shape (dimension,).
            k: how many rows; a store may have a maximum.
            values: non-key columns whose values are read.
            where: columns and the values, as they travel in Arrow, that rows must have there.

        Raises:
            InputError: the vector has another dimension, is zero or not finite, or ``k`` is out of range.
            SchemaError: there is no such index.
            StoreUnavailable: the index is not built yet.
        """
