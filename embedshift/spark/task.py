"""The work of one Spark task: one worker process reads, compares, embeds and writes a token range, and records it."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain

import pyarrow as pa

from embedshift.catalog.actor import whoami
from embedshift.catalog.dead_letters import DeadLetter, write_dead_letters
from embedshift.catalog.ranges import Counts, RangeRecord, write_ranges
from embedshift.errors import CheckFailed, EmbedshiftError, OwnedByAnother
from embedshift.spark.compare import RangeComparison
from embedshift.spark.embed import EmbeddingStage
from embedshift.spark.heartbeat import Heartbeat
from embedshift.spark.known import Known
from embedshift.spark.overlap import ahead, behind
from embedshift.spark.ranges import cut_rest
from embedshift.spark.rows import Window
from embedshift.spark.scan_limit import ScanLimit
from embedshift.spark.stores import Stores, shared_store
from embedshift.spark.throttle import Throttle, throttle_reader
from embedshift.spark.transfer import Transfer
from embedshift.spark.writer import Writer
from embedshift.telemetry.logs import trouble_level
from embedshift.tokens import TokenRange

_LOG = logging.getLogger(__name__)
#: Windows that are compared at once if no vectors are read: such rows are narrow, and a large page costs a server less.
_COMPARED_AT_ONCE = 4


def carry_ranges(transfer: Transfer, threads: int, ranges: Iterable[tuple[int, int, int]]) -> None:
    """Carry the ranges of one task.

    Args:
        transfer: what is carried.
        threads: threads of one matrix product.
        ranges: start, end and attempt of each.
    """
    stores = worker_stores(transfer)
    for start, end, attempt in ranges:
        carry_range(stores, transfer, TokenRange(start, end), attempt, threads=threads)


def worker_stores(transfer: Transfer) -> Stores:
    """The stores of a transfer in this worker process."""
    return Stores(*map(shared_store, (transfer.source, transfer.target, transfer.catalog)))


def carry_range(stores: Stores, transfer: Transfer, within: TokenRange, attempt: int, *, threads: int = 1) -> None:
    """Carry one range and record its outcome. A failure is recorded too, and affects no other range.

    Reading, embedding and writing overlap. Their threads have ended when this returns or raises.

    Raises:
        OwnedByAnother: the run of this task is over; nothing is recorded.
    """
    task = RangeTask(stores, transfer, within, attempt, threads=threads)
    with task.recorded(), task.heartbeat.beating(), ahead(task.compared()) as windows, behind(task.write) as write:
        for window in windows:
            write(task.embed(window))


def carry_rows(stores: Stores, transfer: Transfer, keys: pa.RecordBatch) -> None:
    """Carry the rows with some primary keys. A row that cannot be embedded or written is left as it is.

    Raises:
        EmbedshiftError: the model cannot be loaded, or the store fails: nothing is known about the rows themselves.
    """
    embedding = EmbeddingStage(stores.catalog, transfer, 1)
    comparison, writer = comparison_of(stores, transfer), Writer(stores, transfer)
    try:
        with stage("embedding or writing"):
            for start in range(0, keys.num_rows, transfer.window_rows):
                found = comparison.of_keys(keys.slice(start, transfer.window_rows))
                for window in chain.from_iterable(map(embedding.tokenized, found)):
                    writer.apply(embedding.embedded(window).rows)
    finally:
        embedding.end()


class RangeTask:
    """The work on one range, stage by stage: ``compared``, ``embed``, ``write`` and, around them, ``recorded``."""

    def __init__(
        self, stores: Stores, transfer: Transfer, within: TokenRange, attempt: int, *, threads: int = 1
    ) -> None:
        self.range, self.attempt = within, attempt
        self.heartbeat = Heartbeat(stores.catalog, transfer, within)
        self._stores, self._transfer = stores, transfer
        self._limit = ScanLimit(within, transfer.rows_most, transfer.bytes_most)
        self._throttle = Throttle(throttle_reader(stores.catalog, transfer), stores.target)
        self._embedding = EmbeddingStage(stores.catalog, transfer, threads, self._loading)
        self._writer = Writer(stores, transfer)
        self._started = time.monotonic()
        self._read = Counts()

    def compared(self) -> Generator[Window]:
        """The windows of what differs, their texts tokenised."""
        with stage("reading"):
            self._throttle.hold()
            for window in comparison_of(self._stores, self._transfer).windows(self.range, self._limit):
                yield from self._embedding.tokenized(window)

    def embed(self, window: Window) -> Window:
        """The window with its vectors."""
        with stage("embedding"):
            behind = self.heartbeat.rows + window.counts.unchanged + window.rows.num_rows
            if window.texts is not None:
                self._throttle.hold()
                self.heartbeat.doing = "embedding"
                window = self._embedding.embedded(window, self.heartbeat.count)
            self.heartbeat.rows = behind
            return window

    def write(self, window: Window) -> None:
        """Write and delete what the window says, within the limits that operators set."""
        with stage("writing"):
            self._read += window.counts
            self._throttle.pass_by(window.counts.unchanged)
            for part in self._throttle.parts(window.rows):
                self._writer.apply(part)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the outcome of the block, in which every window is compared, embedded and written."""
        error = ""
        try:
            yield
            self._throttle.end()
        except OwnedByAnother:
            raise  # a run that is over writes nothing
        except EmbedshiftError as failure:
            error = str(failure)
            if failure.ends_run:
                self._embedding.stop(failure)
        finally:
            self._embedding.end()
        self._writer.fence.check_owner()
        self._record(error or self._imbalance())

    def _loading(self) -> None:
        self.heartbeat.doing = "loading the model"

    @property
    def _counts(self) -> Counts:
        # What was read, as the comparison says; what became of it, as the writer does.
        return self._writer.counts + Counts(self._read.read, unchanged=self._read.unchanged)

    def _imbalance(self) -> str:
        counts = self._counts
        if counts.balanced and counts.deleted == self._read.deleted:
            return ""
        return (
            f"read {counts.read} rows, but {counts.written} written + {counts.unchanged} unchanged + {counts.dead} dead"
        )

    def _record(self, error: str) -> None:
        catalog, transfer = self._stores.catalog, self._transfer
        within = self.range if error else self._leave_rest()
        letters = [DeadLetter(id_, within, transfer.step, why, self.attempt) for id_, why in self._writer.letters]
        write_dead_letters(catalog, transfer.migration, letters)
        seconds = time.monotonic() - self._started
        state = "failed" if error else "done"
        record = RangeRecord(within, state, self._counts, self.attempt, whoami(), error, seconds)
        write_ranges(catalog, transfer.migration, transfer.step, [record])
        self.heartbeat.end()
        log_range(transfer, record)

    def _leave_rest(self) -> TokenRange:
        """Plan what was left of the range; returns the part that was read.

        The rest is recorded first: a task that ends in between leaves too much planned, never too little.
        """
        if self._limit.rest is None:
            return self.range
        parts = cut_rest(self._limit.read, self._limit.rest)
        planned = [RangeRecord(part, attempts=self.attempt - 1) for part in parts]
        write_ranges(self._stores.catalog, self._transfer.migration, self._transfer.step, planned)
        return self._limit.read


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Turn whatever a model, a driver or Arrow raises into an error of this range alone."""
    try:
        yield
    except EmbedshiftError:
        raise
    except Exception as error:
        # Not its message, which could contain text of an article.
        raise CheckFailed(f"{name} failed: {type(error).__name__}") from error


def comparison_of(stores: Stores, transfer: Transfer) -> RangeComparison:
    """The comparison for a transfer."""
    narrow = not (transfer.layout.copies_vectors or transfer.inspect)
    return RangeComparison(
        stores,
        transfer.layout,
        transfer.orphans_before_us,
        transfer.window_rows * (_COMPARED_AT_ONCE if narrow else 1),
        Known(stores.catalog, transfer),
        transfer.clock_skew_us,
        into_live=transfer.into_live,
        inspect=transfer.inspect,
        since_us=transfer.since_us,
        by_log=transfer.by_log,
        indexed_from_us=transfer.indexed_from_us,
    )


def log_range(transfer: Transfer, record: RangeRecord) -> None:
    """Log the outcome of one range, in the task that wrote its row; a range that is done is logged for debug."""
    told = {
        "migration": transfer.migration,
        "step": transfer.step,
        "range": str(record.range),
        "attempt": record.attempts,
        "seconds": round(record.seconds, 3),
    }
    if record.error:
        _LOG.log(trouble_level(), "a range failed", extra={**told, "error": record.error})
    else:
        _LOG.debug("a range is done", extra={**told, **asdict(record.counts)})
