"""One process's copy of a vector index in memory, brought up to the table's last write before every search."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index as Graph

from jobs.stores.contract import Index
from jobs.stores.embedded.cells import cell, cell_alive, rows_table
from jobs.stores.embedded.columns import vectors
from jobs.stores.embedded.connection import Connections
from jobs.stores.embedded.index_file import indexable
from jobs.stores.embedded.rows import now_s

_PAGE_ROWS = 4096
#: Rows of a graph below which one thread adds: what several threads add at once does not see each other, and where
#: that is a good part of the graph its recall falls by chance, by a hundredth or two on a busy machine.
_ONE_THREAD_ROWS = 10_000
#: Rows for which it is worth waking the other threads.
_MANY_ROWS = 256


class Replica:
    """A graph over the rows of a table, keyed by row number.

    Its caller holds ``lock`` while it uses it: USearch gives every caller the same scratch space.

    Args:
        index: what it is an index of.
        build: which of the builds of that name it is a copy of.
        graph: what was built so far.
        sequence: the last write to the table that the graph knows.
    """

    def __init__(self, index: Index, build: str, graph: Graph, sequence: int) -> None:
        self.index = index
        self.build = build
        self.graph = graph
        self.sequence = sequence
        self.unsaved = 0
        self.lock = threading.Lock()
        self._changes = (
            f"SELECT sequence, row, CASE WHEN {cell_alive(index.column)} THEN {cell(index.column)[0]} END"
            f" FROM {rows_table(index.table)} WHERE (sequence, row) > (:sequence, :row)"
            " ORDER BY sequence, row LIMIT :limit"
        )

    def __len__(self) -> int:
        return len(self.graph)

    def catch_up(self, connection: sqlite3.Connection | Connections, last: int) -> None:
        """Apply every change up to the table's write number ``last``, and those made meanwhile.

        Args:
            connection: to read from; ``Connections`` where each page may be a read of its own, which a long build
                needs so as not to hold back other processes.
            last: the table's last sequence, read before.
        """
        if last <= self.sequence:
            return
        place = {"sequence": self.sequence, "row": 2**63 - 1, "limit": _PAGE_ROWS}
        while rows := _read(connection, self._changes, {**place, "now": now_s()}):
            self._apply(rows)
            place["sequence"], place["row"] = rows[-1][:2]
            if len(rows) < _PAGE_ROWS:
                break
        self.sequence = max(last, place["sequence"])

    def nearest(self, query: NDArray[np.float32], count: int) -> list[int]:
        """The numbers of about ``count`` nearest rows; exactly all where there are no more."""
        everything = count >= len(self.graph)
        return [int(row) for row in self.graph.search(query, count, threads=1, exact=everything).keys]

    def forget(self, rows: Iterable[int]) -> None:
        """Remove rows that are dead."""
        numbers = np.fromiter(rows, np.uint64)
        if len(numbers):
            self.graph.remove(numbers)

    def _apply(self, rows: list[tuple[int, int, bytes | None]]) -> None:
        numbers = np.fromiter((row for _, row, _ in rows), np.uint64, len(rows))
        if len(self.graph):
            self.forget(numbers[np.asarray(self.graph.contains(numbers))].tolist())
        there = np.fromiter((blob is not None for _, _, blob in rows), np.bool_, len(rows))
        matrix = vectors([blob for _, _, blob in rows if blob is not None], self.index.dimension)
        usable = indexable(self.index.options.metric, matrix)
        threads = 0 if len(rows) >= _MANY_ROWS and len(self.graph) >= _ONE_THREAD_ROWS else 1
        self.graph.add(numbers[there][usable], matrix[usable], threads=threads)
        self.unsaved += len(rows)


def _read(source: sqlite3.Connection | Connections, statement: str, place: dict[str, Any]) -> list[Any]:
    if isinstance(source, sqlite3.Connection):
        return source.execute(statement, place).fetchall()
    with source.borrow() as connection:
        return connection.execute(statement, place).fetchall()
