"""Work that only reads: it runs on the token ranges of a table, and its results are added up on the way."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from embedshift.catalog.ranges import Counts
from embedshift.errors import EmbedshiftError
from embedshift.settings import StoreSettings
from embedshift.spark.job import in_thread
from embedshift.spark.rows import ENTERED
from embedshift.spark.stores import shared_store
from embedshift.spark.task import comparison_of, stage, worker_stores
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark import SparkContext


Sum = TypeVar("Sum")
#: Tasks per core: enough to balance the load, few enough that their results are small to collect.
_TASKS_A_CORE = 4


def aggregate(
    spark: SparkContext,
    store: StoreSettings,
    ranges: Sequence[TokenRange],
    work: Callable[[Store, TokenRange], Sum],
) -> Sum:
    """Call ``work`` on every range and add the results up: first within a task, then over the tasks.

    Args:
        work: can be pickled; its results can be added and pickled.

    Raises:
        EmbedshiftError: what ``work`` raised.
    """
    tasks = min(len(ranges), spark.defaultParallelism * _TASKS_A_CORE)
    parts = [ranges[number * len(ranges) // tasks : (number + 1) * len(ranges) // tasks] for number in range(tasks)]
    sums = in_thread(spark.parallelize(parts, tasks).mapPartitions(partial(_summed, store, work)).collect)
    found: list[Sum] = []
    for each in sums:
        if isinstance(each, EmbedshiftError):
            raise each
        found.append(each)
    return reduce(operator.add, found)


def _summed(
    settings: StoreSettings, work: Callable[[Store, TokenRange], Sum], parts: Iterator[Sequence[TokenRange]]
) -> Iterator[Sum | EmbedshiftError]:
    try:
        # Whatever a library raises about some value ends the step in one line, too.
        with stage("reading"):
            store = shared_store(settings)
            sums = accumulate((work(store, each) for part in parts for each in part), operator.add)
            # Only the last sum is kept, so that memory does not grow with the number of ranges.
            return iter(deque(sums, maxlen=1))
    except EmbedshiftError as error:
        # Spark would wrap it into pages of its own; the driver raises it as it is.
        return iter([error])


def preview(spark: SparkContext, transfer: Transfer, ranges: Sequence[TokenRange]) -> Counts:
    """Compare every range, and count the rows that would be written or deleted."""
    return aggregate(spark, transfer.source, ranges, partial(_preview, transfer))


def count_unshared(spark: SparkContext, transfer: Transfer, ranges: Sequence[TokenRange]) -> int:
    """Count the rows with young values that the source has and the target lacks, whatever their vectors are."""
    return aggregate(spark, transfer.source, ranges, partial(_count_unshared, transfer))


def _count_unshared(transfer: Transfer, _: Store, within: TokenRange) -> int:
    windows = comparison_of(worker_stores(transfer), transfer).windows(within)
    return sum(window.rows.num_rows - window.rows.column(ENTERED).null_count for window in windows)


def _preview(transfer: Transfer, _: Store, within: TokenRange) -> Counts:
    found = Counts()
    for window in comparison_of(worker_stores(transfer), transfer).windows(within):
        counts = window.counts
        found += Counts(counts.read, window.rows.num_rows, deleted=counts.deleted)
    return Counts(found.read, found.written - found.deleted, deleted=found.deleted)
