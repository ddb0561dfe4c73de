"""A migration in one process: the product's own steps, tasks and store, with Spark's part played here.

Spark brings ranges to workers and sums up what they return; nothing else of it is replaced. The stages of a range run
one after the other instead of overlapping; they, the records of ranges, retries and every step are the product's own,
and so is the store. Time is a
clock that a test moves, so that rows expire and leases end without waiting, and a history runs the same way twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from pyspark.errors import PySparkException

from embedshift.spark.run import planned_ranges
from embedshift.spark.stores import Stores
from embedshift.spark.task import RangeTask
from embedshift.spark.transfer import Transfer
from embedshift.validation.survey import Look

#: Where tasks look for the store of their process.
STORES = ("task", "aggregate")


class Clock:
    """The time of one history. It never stands still: two calls never get the same microsecond."""

    def __init__(self) -> None:
        self._now_ns = 1_800_000_000 * 1_000_000_000

    def time_ns(self) -> int:
        self._now_ns += 1_000
        return self._now_ns

    def time(self) -> float:
        return self.time_ns() / 1e9

    def now_us(self) -> int:
        return self.time_ns() // 1_000

    @property
    def now_s(self) -> int:
        return self._now_ns // 1_000_000_000

    def pass_by(self, seconds: int) -> None:
        self._now_ns += seconds * 1_000_000_000


class WorkerDied(BaseException):
    """A worker process is gone, and the task with it; the driver lives."""


class _Spread:
    """Parts that are worked on one after the other."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    def mapPartitions(self, work: Callable[[Iterator[Any]], Iterator[Any]]) -> _Spread:
        return _Spread([made for part in self._parts for made in work(iter([part]))])

    def collect(self) -> list[Any]:
        return [*self._parts]


class Context:
    """What the steps ask of a Spark context.

    Args:
        twice: which of a job's partitions, by its place modulo their number, is worked on by two tasks: the first one
            reads early and writes late, after the second has ended. None: every one once.
    """

    def __init__(self, twice: int | None = None) -> None:
        self.twice = twice
        self.in_task = False
        self.defaultParallelism = 2

    def broadcast(self, value: Any) -> Any:
        return SimpleNamespace(value=value)

    def cancelJobGroup(self, group: str) -> None:
        del group

    def parallelize(self, values: Sequence[Any], parts: int) -> _Spread:
        """One value a part."""
        assert len(values) == parts
        return _Spread(values)

    def job(self, store: Any, transfer: Transfer) -> None:
        """One job of a transfer: every planned range is read, embedded and written by a task."""
        planned = planned_ranges(store, transfer)
        died = ""
        for place, each in enumerate(planned):
            within, attempt = each.range, each.attempts + 1
            self.in_task = True
            try:
                late, copy = None, RangeTask(Stores.one(store), transfer, within, attempt)
                if self.twice is not None and place == self.twice % len(planned):
                    late = [copy.embed(window) for window in copy.compared()]
                task = RangeTask(Stores.one(store), transfer, within, attempt)
                with task.recorded():
                    for window in task.compared():
                        task.write(task.embed(window))
                if late is not None:
                    with copy.recorded():
                        for window in late:
                            copy.write(window)
            except WorkerDied as error:
                died = str(error)
            finally:
                self.in_task = False
        if died:
            raise PySparkException(message=f"a worker died: {died}")


@contextmanager
def one_process(clock: Clock, store: Callable[[], Any], context: Callable[[], Context]) -> Iterator[None]:
    """Let the steps run in this process.

    Args:
        clock: tells the time to everything.
        store: the store that tasks find open in their process.
        context: the Spark context that steps get.
    """

    @contextmanager
    def spark_context(*_: object, **__: object) -> Iterator[Context]:
        yield context()

    with ExitStack() as stack:
        for name, value in {
            "embedshift.spark.context.spark_context": spark_context,
            **{f"embedshift.spark.{module}.shared_store": lambda _: store() for module in STORES},
            "embedshift.spark.run.run_job": lambda found, _, transfer: found.job(store(), transfer),
            "embedshift.spark.aggregate.in_thread": lambda work: work(),
            "embedshift.spark.embed.keep_for_good": lambda: None,
            "embedshift.spark.compare.time_ns": clock.time_ns,
            # Tasks look at their order once a run: by the real clock each run would be another one.
            "embedshift.spark.throttle.LOOK_S": float("inf"),
            # A second look at what differs need not wait here: nothing is written between the two.
            "embedshift.steps.proof.Look": partial(Look, again_after_s=0.0),
        }.items():
            stack.enter_context(mock.patch(name, value))
        stack.enter_context(mock.patch.object(time, "time_ns", clock.time_ns))
        stack.enter_context(mock.patch.object(time, "time", clock.time))
        yield
