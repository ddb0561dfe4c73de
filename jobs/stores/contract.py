"""What every store of articles can do, and the words for it.

Rows travel as Arrow record batches. A batch of a table has, in this order and only as far as asked for:

* ``token()``: int64, the token of the partition key (scans only),
* the primary key's columns,
* other columns by name,
* ``writetime(c)``: int64, microseconds since the epoch, and ``ttl(c)``: int32, the remaining seconds, of a cell ``c``.

Vectors are fixed-size lists of float32; types that embedshift need not understand travel as the store's own bytes
(see ``stores.values``). A null value with a null write time is a cell that was never written: it stays unset. A null
value *with* a write time is the deletion of that cell at that time.

Of two writes of one cell the later wins; at equal times a deletion wins over a value, and of two values the greater.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.settings import IndexSettings
from jobs.stores.record import Records
from jobs.tokens import TokenRange

TOKEN = "token()"

Role = Literal["partition", "clustering", "static", "regular"]


def write_time(column: str) -> str:
    """The name of the batch column that holds the write times of ``column``."""
    return f"writetime({column})"


def remaining_ttl(column: str) -> str:
    """The name of the batch column that holds the remaining TTLs of ``column``."""
    return f"ttl({column})"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its CQL type as text (``text``, ``vector<float, 384>``), its role in the table.

    ``descending`` holds for a clustering column that the table keeps in falling order. ``untimed`` holds where the
    store cannot tell when a cell was written: its write time is that of the row's other cells.
    """

    name: str
    type: str
    role: Role = "regular"
    descending: bool = False
    untimed: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the store describes it: key columns first, in key order."""

    name: str
    columns: tuple[Column, ...]

    @property
    def keys(self) -> tuple[Column, ...]:
        """The primary key: partition columns, then clustering columns."""
        return tuple(c for c in self.columns if c.role in ("partition", "clustering"))

    @property
    def others(self) -> tuple[Column, ...]:
        """Everything that is not in the primary key."""
        return tuple(c for c in self.columns if c.role in ("static", "regular"))

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the store believes a table holds: rows, and bytes on disk. Never exact; 0 where it cannot say."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the ring that one set of hosts holds (hosts empty where it does not matter)."""

    range: TokenRange
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """A vector index: on which column of which table, and how it is built."""

    name: str
    table: str
    column: str
    dimension: int
    options: IndexSettings


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far an index is. ``rows`` is how many vectors it holds, None where the store cannot say."""

    status: Literal["absent", "building", "serving", "failed"]
    rows: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How large an index is: bytes of one copy of it, whether they were measured, and by what they were told."""

    bytes: int
    measured: bool
    note: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result: key values and asked-for columns as Python values, and a similarity.

    The score is the cosine for the metric cosine, the inner product for dot_product, and the negative squared distance
    for euclidean: greater is nearer, whatever the store counts in.
    """

    score: float
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that the store will never take: its place in the batch, and why."""

    row: int
    reason: str


class Store(Protocol):
    """A database of articles. Methods may be called from several threads."""

    @property
    def label(self) -> str:
        """What it is and where, for people: ``Apache Cassandra 5.0.5 at 127.0.0.1:9042``. Never a secret."""
        ...

    @property
    def records(self) -> Records:
        """Where the catalog keeps its rows."""
        ...

    def close(self) -> None:
        """Give back connections and files; a second call does nothing."""
        ...

    def create_keyspaces(self) -> list[str]:
        """Create the keyspaces that the settings name, where missing; returns their names. Not every store has any."""
        ...

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name."""
        ...

    def describe(self, table: str) -> Table:
        """The table's columns. Raises SchemaError where it does not exist or cannot be copied (counters)."""
        ...

    def create(self, table: Table) -> None:
        """Create a table, empty. Raises SchemaError where the name is taken or a type is unknown."""
        ...

    def add_column(self, table: str, column: Column) -> None:
        """Add a regular column to a table that lives."""
        ...

    def drop(self, table: str) -> None:
        """Drop a table with its indexes; no error where it is gone already."""
        ...

    def reads(self, table: str) -> int | None:
        """How often the table has been read, by the servers' own count; None where they cannot say."""
        ...

    def snapshot(self, table: str) -> str:
        """Make sure that a copy outlives the table's drop; returns where it is, for people.

        Raises:
            SchemaError: the server offers none.
        """
        ...

    def estimate(self, table: str) -> Estimate:
        """The store's own guess of the table's size, without a scan."""
        ...

    def ring(self, table: str) -> list[Piece]:
        """The whole ring once, in order, as the pieces (vnodes, tablets) that this table lies in."""
        ...

    def remarks(self, table: Table) -> list[str]:
        """What copying this table cannot keep (a line each), for ``prepare`` to say."""
        ...

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
            values: non-key columns whose values are read.
            times: non-key columns whose write time and remaining TTL are read, whether or not their values are.
            batch_rows: most rows in a batch; an empty range yields no batch.
        """
        ...

    def fetch(
        self, table: Table, keys: pa.RecordBatch, *, values: Sequence[str] = (), times: Sequence[str] = ()
    ) -> pa.RecordBatch:
        """The live rows of these primary keys, in any order, absent ones left out; the schema of a scan."""
        ...

    def write(self, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
        """Write cells at their own times; returns once every row is acknowledged or rejected.

        Every non-key column ``c`` in ``rows`` needs ``writetime(c)``; ``ttl(c)`` may be left out. Safe to repeat.

        Returns:
            The rows that the store refused for what they hold; all others are durable.

        Raises:
            StoreUnavailable: the rest could not be written, after retries; some rows may have been.
        """
        ...

    def delete(self, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        """Delete whole rows, each at its own time in microseconds (shape (n,)); newer cells stay."""
        ...

    def latencies(self) -> list[float]:
        """Seconds that each write took since this was last asked, the newest few thousand at most.

        A write is what the server answers at once: a request on a cluster, a transaction in a file.
        """
        ...

    def keeps_changes(self, table: Table) -> bool:
        """Whether ``changes`` can name every row of the table that is written or deleted."""
        ...

    def changes(self, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
        """Primary keys of rows written in a span of time, by the table's change log; a key may come several times.

        Args:
            within: a part of the log's own ring: every change is in one part, not always in that of its row.

        Raises:
            SchemaError: the table has no change log.
        """
        ...

    def index_on(self, table: str, column: str) -> Index | None:
        """The vector index of a column, under whatever name it was made, with the options that it has; None: none."""
        ...

    def check_index(self, index: Index) -> None:
        """Raises SchemaError, naming the option and what to write instead, where this store cannot build it."""
        ...

    def create_index(self, index: Index) -> None:
        """Start to build an index; returns before it serves. No error where the same one exists."""
        ...

    def index_state(self, index: Index) -> IndexState:
        """How far the index is."""
        ...

    def index_size(self, index: Index, rows: int) -> IndexSize:
        """The size of an index: measured where it is there and the store can tell, else of ``rows`` by its formula."""
        ...

    def drop_index(self, index: Index) -> None:
        """Drop the index; no error where it is gone already."""
        ...

    def search(
        self, table: Table, index: Index, query: NDArray[np.float32], k: int, *, values: Sequence[str] = ()
    ) -> list[Hit]:
        """The ``k`` nearest live rows to a vector of shape (dimension,), nearest first, keys always included."""
        ...
