"""A migration in one process: the product's own steps, tasks and store, with Spark's part played here.

Spark brings partitions to workers and sums up what they return; nothing else of it is replaced. Readers, the embedding
stage, writers, the records of ranges, retries and every step are the product's own, and so is the store. Time is a
clock that a test moves, so that rows expire and leases end without waiting, and a history runs the same way twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyarrow as pa
from pyspark.errors import PySparkException

from embedshift.spark.embed import embed_rows
from embedshift.spark.reader import RangeReading, planned_ranges
from embedshift.spark.task import carry_range
from embedshift.spark.transfer import Transfer
from embedshift.spark.writer import RangeWriting
from embedshift.validation.survey import survey_range

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
    """A table of numbers whose parts are worked on one after the other."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches

    def mapInArrow(self, work: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]], schema: str) -> _Spread:
        del schema
        return _Spread([made for batch in self._batches for made in work(iter([batch]))])

    def collect(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for batch in self._batches for row in batch.to_pylist()]


class Session:
    """What the steps ask of a Spark session.

    Args:
        twice: which of a job's partitions, by its place modulo their number, is worked on by two tasks: the first one
            reads early and writes late, after the second has ended. None: every one once.
    """

    def __init__(self, twice: int | None = None) -> None:
        self.twice = twice
        self.in_task = False
        self.sparkContext = SimpleNamespace(
            defaultParallelism=2,
            broadcast=lambda value: SimpleNamespace(value=value),
            cancelAllJobs=lambda: None,
        )

    def range(self, first: int, end: int, step: int, parts: int) -> _Spread:
        """Numbers, one a part."""
        numbers = range(first, end, step)
        assert len(numbers) == parts
        return _Spread([pa.RecordBatch.from_pydict({"id": [each]}) for each in numbers])

    def job(self, store: Any, transfer: Transfer) -> None:
        """One job of a transfer: every planned range is read, embedded and written by a task."""
        planned = planned_ranges(store, transfer)
        died = ""
        for place, each in enumerate(planned):
            within, attempt = each.range, each.attempts + 1
            self.in_task = True
            try:
                late, copy = None, RangeReading(store, transfer, within, attempt)
                if self.twice is not None and place == self.twice % len(planned):
                    late = list(embed_rows(transfer, 1, copy.batches()))
                carry_range(store, transfer, within, attempt)
                if late is not None:
                    writing = RangeWriting(store, transfer)
                    writing.run(iter(late))
                    writing.record(copy)
            except WorkerDied as error:
                died = str(error)
            finally:
                self.in_task = False
        if died:
            raise PySparkException(message=f"a worker died: {died}")


@contextmanager
def one_process(clock: Clock, store: Callable[[], Any], session: Callable[[], Session]) -> Iterator[None]:
    """Let the steps run in this process.

    Args:
        clock: tells the time to everything.
        store: the store that tasks find open in their process.
        session: the session that steps get.
    """

    @contextmanager
    def spark_session(*_: object, **__: object) -> Iterator[Session]:
        yield session()

    with ExitStack() as stack:
        for name, value in {
            "embedshift.spark.session.spark_session": spark_session,
            **{f"embedshift.spark.{module}.shared_store": lambda _: store() for module in STORES},
            "embedshift.spark.run._job": lambda found, _, transfer: found.job(store(), transfer),
            "embedshift.spark.embed.keep_for_good": lambda: None,
            "embedshift.spark.compare.time_ns": clock.time_ns,
            # Tasks look at their order once a run: by the real clock each run would be another one.
            "embedshift.spark.throttle._LOOK_S": float("inf"),
            # A second look at what differs need not wait here: nothing is written between the two.
            "embedshift.steps.validate.survey_range": partial(survey_range, look_again_after_s=0.0),
        }.items():
            stack.enter_context(mock.patch(name, value))
        stack.enter_context(mock.patch.object(time, "time_ns", clock.time_ns))
        stack.enter_context(mock.patch.object(time, "time", clock.time))
        yield
