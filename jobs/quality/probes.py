"""Probes: rows from all over the ring whose own vectors are searched for."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.quality.keys import row_keys
from jobs.quality.subject import Subject
from jobs.quality.vectors import with_vectors
from jobs.stores.contract import Store
from jobs.tokens import WHOLE_RING, TokenRange

#: A table with fewer rows than so many a probe is read as a whole, up to this bound.
_ROWS_A_PROBE = 20

_Sample = tuple[NDArray[np.float32], bytes]


def sample_probes(store: Store, subject: Subject, n: int, seed: int) -> tuple[NDArray[np.float32], list[bytes]]:
    """Draw rows of the target, each from another place of the ring; of a small table, any rows.

    Only vectors that can be searched for are drawn: finite, and for the cosine not zero.

    Args:
        n: how many; fewer come back where the table has fewer.
        seed: the same seed draws the same rows, as long as the table stays as it is.

    Returns:
        Vectors of shape (found, dimension), float32, and the rows' keys as ``keys.row_keys`` has them.
    """
    random = np.random.default_rng(seed)
    samples = _of_small_table(store, subject, n, random)
    if samples is None:
        samples = [each for part in WHOLE_RING.split(n) for each in _of_part(store, subject, part, random)]
    if not samples:
        return np.empty((0, subject.dimension), np.float32), []
    return np.stack([vector for vector, _ in samples]), [key for _, key in samples]


def _of_small_table(store: Store, subject: Subject, n: int, random: np.random.Generator) -> list[_Sample] | None:
    """A sample of all rows, None where there are too many to read."""
    most = n * _ROWS_A_PROBE
    if store.estimate(subject.target.name).rows > most:
        return None
    drawn: list[tuple[float, int, _Sample]] = []
    read = 0
    for vectors, keys in _scan(store, subject, WHOLE_RING, 1000):
        for lot, vector, key in zip(random.random(len(keys)).tolist(), vectors, keys, strict=True):
            read += 1
            item = (-lot, read, (vector.copy(), key))
            if len(drawn) < n:
                heapq.heappush(drawn, item)
            else:
                heapq.heappushpop(drawn, item)
        if read > most:  # the estimate was wrong
            return None
    return [sample for _, _, sample in sorted(drawn, key=lambda each: each[1])]


def _of_part(store: Store, subject: Subject, part: TokenRange, random: np.random.Generator) -> list[_Sample]:
    """The first row after a random token of a part of the ring, from its beginning where none follows."""
    at = int(random.integers(part.start, part.end, dtype=np.int64))
    for within in (TokenRange(at, part.end), *([TokenRange(part.start, at)] if at > part.start else [])):
        for vectors, keys in _scan(store, subject, within, 4):
            return [(vectors[0].copy(), keys[0])]
    return []


def _scan(
    store: Store, subject: Subject, within: TokenRange, batch_rows: int
) -> Iterator[tuple[NDArray[np.float32], list[bytes]]]:
    scanned: Iterator[pa.RecordBatch] = store.scan(
        subject.target, within, values=[subject.target_vector], batch_rows=batch_rows
    )
    for rows, vectors in with_vectors(scanned, subject.target_vector, subject.metric):
        yield vectors, row_keys(subject.target, rows)
