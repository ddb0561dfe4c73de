"""The terms of the store contract: tables and columns, indexes and their states, search results, rejected rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedshift.settings import IndexSettings
from embedshift.tokens import TokenRange

TOKEN = "token()"
#: The earliest write time that a copy writes: for a cell that exists, but whose write time is not known.
MIN_WRITE_TIME_US = 1
#: A search of every row.
NO_CONDITION: Mapping[str, Any] = MappingProxyType({})
#: A table with its server's usual options.
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
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

    ``descending`` is true for a clustering column that the table keeps in descending order. ``untimed`` is true if the
    store cannot tell when a cell was written: its write time is then that of the row's other cells. ``fields`` are
    those of a user type of which the store tells the write times one by one: the latest counts, and the longest TTL.
    """

    name: str
    type: str
    role: Role = "regular"
    descending: bool = False
    untimed: bool = False
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the store describes it: key columns first, in key order.

    ``row_ttl`` is the column whose time tells when the server deletes a row; None if rows do not expire so.
    """

    name: str
    columns: tuple[Column, ...]
    row_ttl: str | None = None

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
    """The store's estimate of a table: rows, and bytes on disk. Never exact; 0 if the store cannot tell."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the ring that one set of hosts holds; ``hosts`` is empty if any host can be asked."""

    range: TokenRange
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """A vector index: on which column of which table, and how it is built.

    ``partition``: the columns of a local index, which is searched within one partition; empty if it is of the whole
    table. ``filtering``: further columns that a search may have a condition on.
    """

    name: str
    table: str
    column: str
    dimension: int
    options: IndexSettings
    partition: tuple[str, ...] = ()
    filtering: tuple[str, ...] = ()

    def within(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The condition that a search for a row needs: its partition, if the index is local; else none."""
        return {name: row[name] for name in self.partition}


@dataclass(frozen=True, slots=True)
class SecondaryIndex:
    """An index of a table beside that of its vectors.

    ``definition`` is what follows the table in its statement: on what it is, and how. ``custom``: CREATE CUSTOM INDEX.
    """

    name: str
    custom: bool
    definition: str


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far an index is. ``rows`` is how many vectors it holds, None if the store cannot tell."""

    status: Literal["absent", "building", "serving", "failed"]
    rows: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IndexSize:
    """The size of an index: bytes of one copy, whether they were measured or computed, and what they are bytes of.

    ``log_days``: for so many days a log keeps the changes of the table, because the index is there; 0: there is none.
    """

    bytes: int
    measured: bool
    note: str
    log_days: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result: key values and requested columns as Python values, and a similarity.

    The score is the cosine for the metric cosine, the inner product for dot_product, and the negative squared distance
    for euclidean. On every store a greater score is nearer.
    """

    score: float
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that the store will never accept: its position in the batch, and the reason."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class WrittenIf:
    """What became of conditional writes: which rows were as expected, shape (n,), and which the store refuses."""

    applied: NDArray[np.bool_]
    rejected: list[Rejection]


def completed(options: IndexSettings, defaults: IndexSettings) -> IndexSettings:
    """The options that an index really has: a store's own defaults for those that are null."""
    chosen = defaults.model_dump(exclude_none=True) | options.model_dump(exclude_none=True)
    return IndexSettings.model_validate(chosen)


#: Seconds that each request took, oldest first. Any thread may append.
Latencies = deque[float]
_LATENCIES_MAX = 4096


def new_latencies() -> Latencies:
    """An empty list of latencies, which keeps the newest few thousand."""
    return deque(maxlen=_LATENCIES_MAX)


def drained(latencies: Latencies) -> list[float]:
    """All latencies, oldest first; none is kept."""
    return [latencies.popleft() for _ in range(len(latencies))]
