"""The reading half of the data source: one partition a token range, only what differs, and a count at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition

from jobs.catalog.dead_letters import read_dead_letters
from jobs.catalog.ranges import read_ranges
from jobs.errors import EmbedshiftError, OwnedByAnother
from jobs.logs import start_worker_log
from jobs.settings import StoreSettings
from jobs.spark.difference import Difference, Turn, at_once
from jobs.spark.memory import keep_for_good
from jobs.spark.pace import ReadingPace, orders_of
from jobs.spark.stretch import Stretch
from jobs.spark.transfer import Transfer
from jobs.spark.travel import end_row
from jobs.stores import open_store
from jobs.stores.contract import Store
from jobs.tokens import TokenRange


def shared_store(settings: StoreSettings) -> Store:
    """The store of this worker process: opened once, kept for the tasks that follow."""
    return _open(settings.model_dump_json(), os.getpid())


@lru_cache(maxsize=4)
def _open(settings: str, process: int) -> Store:
    del process  # part of the key alone: a forked worker must not share its parent's connections
    start_worker_log()
    store = open_store(StoreSettings.model_validate_json(settings))
    keep_for_good()
    return store


class RangePartition(InputPartition):
    """One token range to transfer, and which attempt at it this is."""

    def __init__(self, within: TokenRange, attempt: int) -> None:
        super().__init__((within.start, within.end))
        self.within = within
        self.attempt = attempt


class RangeReader(DataSourceReader):
    """Reads the ranges that the catalog has as planned for the transfer's step."""

    def __init__(self, transfer: str) -> None:
        self._transfer = transfer

    def partitions(self) -> Sequence[InputPartition]:
        """One partition for each planned range, shuffled so that neighbours on one replica do not load together."""
        transfer = Transfer.from_json(self._transfer)
        store = shared_store(transfer.store_settings)
        planned = [each for each in read_ranges(store, transfer.migration, transfer.step) if each.state == "planned"]
        # read_ranges goes bucket by bucket, and buckets are chosen by a hash: that order is the shuffle.
        return [RangePartition(each.range, each.attempts + 1) for each in planned]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The differences of one range, then a row with the reader's count.

        A failure becomes part of that row: the outcome of a range is a row in the catalog, not an exception.
        """
        assert isinstance(partition, RangePartition)
        transfer = Transfer.from_json(self._transfer)
        layout = transfer.layout
        note: dict[str, object] = {
            "start": partition.within.start,
            "end": partition.within.end,
            "attempt": partition.attempt,
        }
        try:
            store = shared_store(transfer.store_settings)
            pace = ReadingPace(orders_of(store, transfer))
            difference = difference_of(store, transfer, pace.turn)
            stretch = Stretch(partition.within, transfer.rows_most, transfer.bytes_most)
            pace.turn(0)
            for rows in difference.batches(partition.within, stretch):
                pace.pass_on(rows.num_rows)
                yield rows
            pace.end()
            note |= {"read": difference.read, "unchanged": difference.unchanged, "deleted": difference.deleted}
            note |= {"reached": stretch.end}
        except OwnedByAnother:
            raise  # of a run that is over nothing is written down any more
        except EmbedshiftError as error:
            note["error"] = str(error)
        # Whatever a driver or Arrow may throw concerns this range alone; its message could hold text of an article.
        except Exception as error:  # noqa: BLE001
            note["error"] = f"reading failed: {type(error).__name__}"
        yield end_row(layout, json.dumps(note))


def difference_of(store: Store, transfer: Transfer, turn: Turn = at_once) -> Difference:
    """The comparison that a transfer asks for; ``turn`` as in ``Difference``."""
    return Difference(
        store,
        transfer.layout,
        transfer.orphans_before_us,
        transfer.window_rows,
        _spared(store, transfer),
        transfer.clock_skew_us,
        into_live=transfer.into_live,
        inspect=transfer.inspect,
        since_us=transfer.since_us,
        by_log=transfer.by_log,
        turn=turn,
    )


def _spared(store: Store, transfer: Transfer) -> frozenset[str]:
    if not transfer.spare_dead:
        return frozenset()
    letters = read_dead_letters(store, transfer.migration)
    return frozenset(letter.id for letter in letters if not letter.of_way_back)
