"""Work that only reads, spread over the token ranges of a table, its results summed on the way."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from jobs.settings import StoreSettings
from jobs.spark.reader import shared_store
from jobs.stores.contract import Store
from jobs.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Sum = TypeVar("Sum")

#: Tasks for each core: enough to balance, few enough that their results are small to collect.
_TASKS_A_CORE = 4


def spread(
    session: SparkSession,
    store: StoreSettings,
    ranges: Sequence[TokenRange],
    work: Callable[[Store, TokenRange], Sum],
) -> Sum:
    """Do ``work`` on every range and add the results up: within a task first, then over the tasks.

    Args:
        work: can be pickled; its results can be added and pickled.
    """
    context = session.sparkContext
    tasks = min(len(ranges), context.defaultParallelism * _TASKS_A_CORE)
    sums = context.parallelize(ranges, tasks).mapPartitions(partial(_summed, store, work)).collect()
    return reduce(operator.add, sums)


def _summed(
    settings: StoreSettings, work: Callable[[Store, TokenRange], Sum], ranges: Iterator[TokenRange]
) -> Iterator[Sum]:
    store = shared_store(settings)
    sums = accumulate((work(store, each) for each in ranges), operator.add)
    # Only the last sum is kept: memory does not grow with the number of ranges.
    yield from deque(sums, maxlen=1)
