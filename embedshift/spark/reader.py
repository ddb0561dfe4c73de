"""Read a token range of both tables: yields only what differs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.ranges import RangeRecord, read_ranges
from embedshift.errors import EmbedshiftError, OwnedByAnother
from embedshift.settings import StoreSettings
from embedshift.spark.compare import RangeComparison, Turn, at_once
from embedshift.spark.scan_limit import ScanLimit
from embedshift.spark.throttle import ReadThrottle, throttle_reader
from embedshift.spark.transfer import Transfer
from embedshift.spark.worker import keep_for_good
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.telemetry.logs import start_worker_log
from embedshift.tokens import TokenRange


def shared_store(settings: StoreSettings) -> Store:
    """The store of this worker process: opened once, and kept for later tasks."""
    return _open(settings.model_dump_json(), os.getpid())


@lru_cache(maxsize=4)
def _open(settings: str, process: int) -> Store:
    del process  # only part of the key: a forked worker must not share its parent's connections
    start_worker_log()
    store = open_store(StoreSettings.model_validate_json(settings))
    keep_for_good()
    return store


def planned_ranges(store: Store, transfer: Transfer) -> list[RangeRecord]:
    """The planned ranges of the catalog, shuffled so that neighbours on one replica are not loaded together."""
    # read_ranges goes bucket by bucket, and buckets are chosen by a hash: that is the shuffle.
    return [each for each in read_ranges(store, transfer.migration, transfer.step) if each.state == "planned"]


class RangeReading:
    """The reading of one range: its differences, and afterwards the counts.

    A failure is kept in ``error``: the outcome of a range is a row in the catalog, not an exception. ``reached`` is the
    token up to which the range was read.
    """

    def __init__(self, store: Store, transfer: Transfer, within: TokenRange, attempt: int) -> None:
        self.range, self.attempt = within, attempt
        self.read = self.unchanged = self.deleted = 0
        self.reached = within.end
        self.error = ""
        self._store, self._transfer = store, transfer

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The differences, in the schema of ``Layout.schema``."""
        try:
            yield from self._differences()
        except OwnedByAnother:
            raise  # a run that is over records nothing
        except EmbedshiftError as error:
            self.error = str(error)
        # Whatever a driver or Arrow raises concerns only this range; its message could contain text of an article.
        except Exception as error:  # noqa: BLE001
            self.error = f"reading failed: {type(error).__name__}"

    def _differences(self) -> Iterator[pa.RecordBatch]:
        store, transfer = self._store, self._transfer
        throttle = ReadThrottle(throttle_reader(store, transfer))
        comparison = comparison_of(store, transfer, throttle.turn)
        scan_limit = ScanLimit(self.range, transfer.rows_most, transfer.bytes_most)
        throttle.turn(0)
        for rows in comparison.batches(self.range, scan_limit):
            throttle.pass_on(rows.num_rows)
            yield rows
        throttle.end()
        self.read, self.unchanged, self.deleted = comparison.read, comparison.unchanged, comparison.deleted
        self.reached = scan_limit.end


def comparison_of(store: Store, transfer: Transfer, turn: Turn = at_once) -> RangeComparison:
    """The comparison for a transfer; ``turn`` as in ``RangeComparison``."""
    return RangeComparison(
        store,
        transfer.layout,
        transfer.orphans_before_us,
        transfer.window_rows,
        _protected(store, transfer),
        transfer.clock_skew_us,
        into_live=transfer.into_live,
        inspect=transfer.inspect,
        since_us=transfer.since_us,
        by_log=transfer.by_log,
        turn=turn,
    )


def _protected(store: Store, transfer: Transfer) -> frozenset[str]:
    if not transfer.protect_dead:
        return frozenset()
    letters = read_dead_letters(store, transfer.migration)
    return frozenset(letter.id for letter in letters if not letter.of_way_back)
