"""Work that only reads: it runs on the token ranges of a table, and its results are added up on the way."""

from __future__ import annotations

import operator
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from embedshift.catalog.ranges import Counts
from embedshift.settings import StoreSettings
from embedshift.spark.reader import comparison_of, shared_store
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


Sum = TypeVar("Sum")
#: Tasks per core: enough to balance the load, few enough that their results are small to collect.
_TASKS_A_CORE = 4


def aggregate(
    session: SparkSession,
    store: StoreSettings,
    ranges: Sequence[TokenRange],
    work: Callable[[Store, TokenRange], Sum],
) -> Sum:
    """Call ``work`` on every range and add the results up: first within a task, then over the tasks.

    Args:
        work: can be pickled; its results can be added and pickled.
    """
    tasks = min(len(ranges), session.sparkContext.defaultParallelism * _TASKS_A_CORE)
    parts = [ranges[number * len(ranges) // tasks : (number + 1) * len(ranges) // tasks] for number in range(tasks)]
    # As a table, not as an RDD: its tasks then run in the same workers as transfers, which have the model loaded.
    summed = session.range(0, tasks, 1, tasks).mapInArrow(partial(_summed, store, work, parts), "sum binary")
    sums: list[Sum] = [pickle.loads(row[0]) for row in summed.collect()]
    return reduce(operator.add, sums)


def _summed(
    settings: StoreSettings,
    work: Callable[[Store, TokenRange], Sum],
    parts: Sequence[Sequence[TokenRange]],
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    store = shared_store(settings)
    for number in (each.as_py() for batch in batches for each in batch.column(0)):
        sums = accumulate((work(store, each) for each in parts[number]), operator.add)
        # Only the last sum is kept, so that memory does not grow with the number of ranges.
        last = pa.array([pickle.dumps(each) for each in deque(sums, maxlen=1)], pa.binary())
        yield pa.RecordBatch.from_arrays([last], ["sum"])


def preview(session: SparkSession, transfer: Transfer, ranges: Sequence[TokenRange]) -> Counts:
    """Compare every range, and count the rows that would be written or deleted."""
    return aggregate(session, transfer.store, ranges, partial(_preview, transfer))


def _preview(transfer: Transfer, store: Store, within: TokenRange) -> Counts:
    comparison = comparison_of(store, transfer)
    rows = sum(batch.num_rows for batch in comparison.batches(within))
    return Counts(comparison.read, rows - comparison.deleted, deleted=comparison.deleted)
