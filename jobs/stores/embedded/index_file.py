"""A vector index on disk: written whole or not at all, and never trusted without its checksum."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray
from usearch.index import Index as Graph

from jobs.errors import StoreUnavailable
from jobs.stores.contract import Index

_METRICS = {"cosine": "cos", "euclidean": "l2sq", "dot_product": "ip"}
_CHUNK_BYTES = 1 << 20
_BYTES = {"f32": 4, "f16": 2, "bf16": 2, "i8": 1}


def new_graph(index: Index) -> Graph:
    """An empty HNSW graph with the options of an index; 16, 128, 64 and f32 where they are null."""
    options = index.options
    return Graph(
        ndim=index.dimension,
        metric=_METRICS[options.metric],
        dtype=options.quantization or "f32",
        connectivity=options.connections or 16,
        expansion_add=options.expansion_add or 128,
        expansion_search=options.expansion_search or 64,
    )


def size_of(index: Index, rows: int) -> int:
    """Bytes of the file of so many vectors: each its numbers, its key and level, and 4 bytes for each edge.

    A node has twice the connections on the lowest level, and on average 1 / (connections - 1) levels above it.
    """
    edges = index.options.connections or 16
    numbers = index.dimension * _BYTES[index.options.quantization or "f32"]
    key_and_level, lowest, above = 8 + 2 + 2, 4 + 2 * edges * 4, (4 + edges * 4) / (edges - 1)
    return round(rows * (numbers + key_and_level + lowest + above))


def save(graph: Graph, path: Path) -> str:
    """Write a graph beside its place, then rename it there.

    Returns:
        The checksum that ``load`` asks for.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        try:
            graph.save(os.fspath(unfinished))
        except RuntimeError as error:  # USearch has no other words for a full disk
            raise OSError(str(error)) from error
        checksum = _checksum(unfinished, sync=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return checksum


def load(index: Index, path: Path, checksum: str) -> Graph:
    """Read a graph into memory. Raises OSError where the file is missing or is not the one that was written."""
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
    """Hold the right to build indexes beside the database; the system takes it back from a process that dies.

    Args:
        path: the lock's file.
        wait: whether to wait while another has it.

    Returns:
        Whether it is held.

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


def similarities(metric: str, query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The exact scores of ``contract.Hit``.

    Args:
        metric: as in the index settings.
        query: shape (dimension,).
        vectors: shape (n, dimension).

    Returns:
        Shape (n,); greater is nearer.
    """
    one, many = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(-np.square(many - one).sum(axis=1))
    scores = many @ one
    if metric == "cosine":
        scores /= np.linalg.norm(many, axis=1) * np.linalg.norm(one)
    return np.asarray(scores)


def indexable(metric: str, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which vectors (shape (n, dimension)) have a similarity at all: finite ones, for the cosine with a direction."""
    finite = np.isfinite(vectors).all(axis=1)
    return np.asarray(finite & vectors.any(axis=1) if metric == "cosine" else finite)
