"""Rows drawn from all over the ring."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.quality.exact import comparable
from jobs.quality.subject import Subject
from jobs.quality.vectors import matrix
from jobs.stores.contract import Store
from jobs.stores.merge import empty_batch, scan_schema
from jobs.tokens import WHOLE_RING, TokenRange

#: A table of fewer rows than so many a draw is read as a whole.
_ROWS_A_DRAW = 20


def draw_rows(store: Store, subject: Subject, n: int, seed: int, *, values: Sequence[str] = ()) -> pa.RecordBatch:
    """Draw rows of the target, each from another part of the ring; of a small table, any rows.

    Only rows are drawn whose vector can be searched for: finite, and for the cosine not zero.

    Args:
        n: how many; fewer come back where the table has fewer.
        seed: the same seed draws the same rows, as long as the table stays as it is.
        values: columns to read beside keys and vector.
    """
    columns = [subject.target_vector, *values]
    drawing = _Drawing(store, subject, columns, np.random.default_rng(seed))
    rows = drawing.of_small_table(n)
    if rows is None:
        rows = [row for part in WHOLE_RING.split(n) for row in drawing.of_part(part)]
    if not rows:
        return empty_batch(scan_schema(subject.target, values=columns, times=[]))
    return pa.concat_batches(rows)


class _Drawing:
    def __init__(self, store: Store, subject: Subject, columns: list[str], random: np.random.Generator) -> None:
        self._store = store
        self._subject = subject
        self._columns = columns
        self._random = random

    def of_small_table(self, n: int) -> list[pa.RecordBatch] | None:
        """A sample of all rows, None where there are too many to read."""
        most = n * _ROWS_A_DRAW
        if self._store.estimate(self._subject.target.name).rows > most:
            return None
        drawn: list[tuple[float, int, pa.RecordBatch]] = []
        read = 0
        for rows in self._scan(WHOLE_RING, 1000):
            for at, lot in enumerate(self._random.random(rows.num_rows).tolist()):
                if len(drawn) < n:
                    heapq.heappush(drawn, (-lot, read + at, _row(rows, at)))
                elif -lot > drawn[0][0]:
                    heapq.heapreplace(drawn, (-lot, read + at, _row(rows, at)))
            read += rows.num_rows
            if read > most:  # the estimate was wrong
                return None
        return [row for _, _, row in sorted(drawn, key=lambda each: each[1])]

    def of_part(self, part: TokenRange) -> list[pa.RecordBatch]:
        """The first row after a random token of a part of the ring, from its beginning where none follows."""
        at = int(self._random.integers(part.start, part.end, dtype=np.int64))
        for within in (TokenRange(at, part.end), *([TokenRange(part.start, at)] if at > part.start else [])):
            for rows in self._scan(within, 4):
                return [_row(rows, 0)]
        return []

    def _scan(self, within: TokenRange, batch_rows: int) -> Iterator[pa.RecordBatch]:
        vector = self._subject.target_vector
        for rows in self._store.scan(self._subject.target, within, values=self._columns, batch_rows=batch_rows):
            have = rows.filter(pc.is_valid(rows.column(vector)))
            usable = comparable(self._subject.metric, matrix(have.column(vector)))
            if usable.any():
                yield have.filter(pa.array(usable))


def _row(rows: pa.RecordBatch, at: int) -> pa.RecordBatch:
    """One row alone: a slice would keep its whole batch in memory."""
    return rows.take(pa.array([at]))
