"""How much of its range a task reads: all of it, unless it has more rows than one task should read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from embedshift.stores.model import TOKEN
from embedshift.tokens import TokenRange


class ScanLimit:
    """The part of a range that is read; it is known when both scans have ended.

    The scan of the source leads: after enough rows or bytes it ends where the token next changes, so that no
    partition is cut. The scan of the target follows.

    Args:
        within: the range.
        rows_most, bytes_most: the limits; 0: no limit.
    """

    def __init__(self, within: TokenRange, rows_most: int = 0, bytes_most: int = 0) -> None:
        self.within = within
        self.end = within.end
        self._rows_most, self._bytes_most = rows_most, bytes_most

    @property
    def read(self) -> TokenRange:
        """What was read."""
        return TokenRange(self.within.start, self.end)

    @property
    def rest(self) -> TokenRange | None:
        """What was left; None if nothing was left."""
        return TokenRange(self.end, self.within.end) if self.end < self.within.end else None

    def lead(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of the source's scan, in token order, up to the limit."""
        rows = size = 0
        last: int | None = None
        for batch in batches:
            if last is None:
                rows, size = rows + batch.num_rows, size + batch.nbytes
                last = self._enough(batch, rows, size)
            if last is None:
                yield batch
                continue
            upto = _rows_to(batch, last)
            yield from _first(batch, upto)
            if upto < batch.num_rows:
                self.end = last
                return

    def _enough(self, batch: pa.RecordBatch, rows: int, size: int) -> int | None:
        """The token after which the scan ends; None if it continues."""
        beyond = 0
        if 0 < self._bytes_most <= size:
            # Assumes that the rows of a batch have the same length.
            beyond = batch.num_rows * (size - self._bytes_most) // batch.nbytes
        elif not 0 < self._rows_most <= rows:
            return None
        if self._rows_most:
            beyond = max(beyond, rows - self._rows_most)
        return int(batch.column(TOKEN)[max(0, batch.num_rows - beyond - 1)].as_py())

    def follow(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of the target's scan, no further than the source's."""
        for batch in batches:
            kept = self.trim(batch)
            yield from _first(kept, kept.num_rows)
            if kept.num_rows < batch.num_rows:
                return

    def trim(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, in token order, that lie in what was read."""
        return rows.slice(0, _rows_to(rows, self.end))


def _rows_to(rows: pa.RecordBatch, token: int) -> int:
    return int(np.searchsorted(rows.column(TOKEN).to_numpy(), token, side="right"))


def _first(rows: pa.RecordBatch, count: int) -> Iterator[pa.RecordBatch]:
    if count:
        yield rows.slice(0, count)
