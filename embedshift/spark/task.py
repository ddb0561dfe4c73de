"""The work of one Spark task: one worker process reads, compares, embeds and writes a token range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.catalog.ranges import RangeRecord
from embedshift.spark.embed import embed_rows
from embedshift.spark.reader import RangeReading, shared_store
from embedshift.spark.transfer import Transfer
from embedshift.spark.writer import RangeWriting
from embedshift.stores.contract import Store
from embedshift.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark import Broadcast

#: What a task returns to Spark: only the number of its range.
RESULT = "range long"


def packed(ranges: list[RangeRecord]) -> NDArray[np.int64]:
    """Ranges in the form for tasks: start, end and attempt of each; shape (n, 3)."""
    rows = [(each.range.start, each.range.end, each.attempts + 1) for each in ranges]
    return np.array(rows, np.int64).reshape(len(rows), 3)


def carry_ranges(
    transfer: Transfer, threads: int, ranges: Broadcast[NDArray[np.int64]], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Carry the ranges of one task, for ``mapInArrow``.

    Args:
        transfer: what is carried.
        threads: threads of one matrix product.
        ranges: all ranges of the job, as ``packed`` gives them.
        batches: numbers of this task's ranges.
    """
    store = shared_store(transfer.store)
    for batch in batches:
        for number in batch.column(0).to_pylist():
            start, end, attempt = ranges.value[number].tolist()
            carry_range(store, transfer, TokenRange(start, end), attempt, threads=threads)
        yield pa.RecordBatch.from_arrays([batch.column(0)], ["range"])


def carry_range(store: Store, transfer: Transfer, within: TokenRange, attempt: int, *, threads: int = 1) -> None:
    """Carry one range and record its outcome. A failure is recorded too, and affects no other range."""
    reading, writing = RangeReading(store, transfer, within, attempt), RangeWriting(store, transfer)
    writing.run(embed_rows(transfer, threads, reading.batches()))
    writing.record(reading)
