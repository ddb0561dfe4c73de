"""The graph of a vector index: its options and size, its file, and the copy in memory that follows the table.

A file is written whole or not at all, and never used without its checksum.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from embedshift.errors import StoreUnavailable
from embedshift.settings import IndexSettings
from embedshift.stores.embedded.cell_sql import cell, cell_alive, rows_table
from embedshift.stores.embedded.columns import vectors
from embedshift.stores.embedded.connection import Connections
from embedshift.stores.embedded.rows import now_s
from embedshift.stores.model import Index, IndexSize, completed
from embedshift.stores.similarity import indexable

if TYPE_CHECKING:
    from usearch.index import Index as Graph

_CONNECTIONS, _QUANTIZATION = 16, "f32"
#: What an index has if the settings name no option.
DEFAULTS = IndexSettings(connections=_CONNECTIONS, expansion_add=128, expansion_search=64, quantization=_QUANTIZATION)
_METRICS = {"cosine": "cos", "euclidean": "l2sq", "dot_product": "ip"}
_CHUNK_BYTES = 1 << 20
_BYTES = {"f32": 4, "f16": 2, "bf16": 2, "i8": 1}


def new_graph(index: Index) -> Graph:
    """An empty HNSW graph with the options of an index."""
    from usearch.index import Index as Graph

    options = completed(index.options, DEFAULTS)
    return Graph(
        ndim=index.dimension,
        metric=_METRICS[options.metric],
        dtype=options.quantization,
        connectivity=options.connections,
        expansion_add=options.expansion_add,
        expansion_search=options.expansion_search,
    )


def computed_size(index: Index, rows: int) -> IndexSize:
    """The size of the index file, by the layout of USearch.

    A vector takes its numbers, its key and level, and 4 bytes for each edge. A node has twice the connections as edges
    on the lowest level, and on average 1 / (connections - 1) levels above it.
    """
    edges = index.options.connections or _CONNECTIONS
    numbers = index.dimension * _BYTES[index.options.quantization or _QUANTIZATION]
    key_and_level, lowest, above = 8 + 2 + 2, 4 + 2 * edges * 4, (4 + edges * 4) / (edges - 1)
    size = round(rows * (numbers + key_and_level + lowest + above))
    return IndexSize(size, False, "the index file, read into memory as a whole, by USearch's file layout")


def save(graph: Graph, path: Path) -> str:
    """Write a graph to a temporary file, then rename it to ``path``.

    Returns:
        The checksum that ``load`` asks for.

    Raises:
        OSError: it cannot be written; no file remains.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        try:
            graph.save(os.fspath(unfinished))
        except RuntimeError as error:  # USearch reports a full disk like this
            raise OSError(str(error)) from error
        checksum = _checksum(unfinished, sync=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return checksum


def load(index: Index, path: Path, checksum: str) -> Graph:
    """Read a graph into memory. Raises OSError if the file is missing or is not the one that was written."""
    if _checksum(path, sync=False) != checksum:
        raise OSError("its checksum is wrong")
    graph = new_graph(index)
    try:
        graph.load(os.fspath(path))
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return graph


def _checksum(path: Path, *, sync: bool) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()


@contextmanager
def building(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock for building indexes of a database; the system releases it if the process dies.

    Args:
        path: the lock's file.
        wait: whether to wait while another process holds it.

    Returns:
        Whether this process holds it.

    Raises:
        StoreUnavailable: the file cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be opened ({error.strerror})", hint="check its folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


_PAGE_ROWS = 4096
#: Rows of a graph below which one thread adds. Nodes that several threads add at once do not see each other. If they
#: are a large part of the graph, recall falls at random, by 0.01 or 0.02 on a busy machine.
_ONE_THREAD_ROWS = 10_000
#: Rows that are all compared with a question. A graph loses edges when vectors are replaced, and in a small one that
#: costs recall: of 200 graphs of 31 vectors, each replaced three times, two missed some of the ten nearest.
_EXACT_ROWS = 256
#: Rows for which several threads are faster than one.
_MANY_ROWS = 256


class Replica:
    """A graph over the rows of a table, keyed by row number.

    A caller must hold ``lock`` while it uses the graph: USearch gives every caller the same scratch space.

    Args:
        index: the index that this is a copy of.
        build: the id of the build of that index.
        graph: the graph as built so far.
        sequence: the number of the last write to the table that the graph contains.
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
            connection: to read from. With ``Connections`` each page is a read of its own, so that a long build does not
                block other processes.
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
        """The numbers of about ``count`` nearest rows; of all rows if there are no more."""
        everything = len(self.graph) <= max(count, _EXACT_ROWS)
        return [int(row) for row in self.graph.search(query, count, threads=1, exact=everything).keys]

    def forget(self, rows: Iterable[int]) -> None:
        """Remove rows that are no longer alive."""
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
