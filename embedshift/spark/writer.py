"""Write a range's rows into the target, and record the range when every row is accounted for."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.catalog.actor import whoami
from embedshift.catalog.dead_letters import DeadLetter, write_dead_letters
from embedshift.catalog.guard import check_may_delete
from embedshift.catalog.ranges import Counts, RangeRecord, write_ranges
from embedshift.errors import EmbedshiftError, OwnedByAnother
from embedshift.spark.ranges import cut_rest
from embedshift.spark.reader import RangeReading
from embedshift.spark.rows import ACTION, DELETED_AT, REASON, Action, Layout
from embedshift.spark.throttle import WriteThrottle, throttle_reader
from embedshift.spark.transfer import Transfer
from embedshift.spark.ttl import aged
from embedshift.stores.contract import Store
from embedshift.stores.merge_join import key_array
from embedshift.stores.model import write_time
from embedshift.telemetry.logs import trouble_level
from embedshift.times import now_us
from embedshift.tokens import TokenRange

_LOG = logging.getLogger(__name__)


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


class RangeWriting:
    """The writing of one range, from its first batch to its record."""

    def __init__(self, store: Store, transfer: Transfer) -> None:
        self._store = store
        self._transfer = transfer
        self._layout: Layout = transfer.layout
        self._started = time.monotonic()
        self._written = self._dead = self._deleted = self._shadowed = 0
        self._letters: list[tuple[str, str]] = []
        #: Why the range failed; empty if it did not.
        self.error = ""
        self._throttle = WriteThrottle(throttle_reader(store, transfer))

    def run(self, batches: Iterator[pa.RecordBatch]) -> None:
        """Write all batches, up to the first failure: the range is then tried again as a whole."""
        try:
            for rows in batches:
                for part in self._throttle.parts(rows):
                    self._apply(part)
        except OwnedByAnother:
            raise  # a run that is over writes nothing
        except EmbedshiftError as error:
            self.error = str(error)
        # Whatever a model or a driver raises concerns only this range; its message could contain text of an article.
        except Exception as error:  # noqa: BLE001
            self.error = f"embedding or writing failed: {type(error).__name__}"

    def _apply(self, rows: pa.RecordBatch) -> None:
        actions = rows.column(ACTION).to_numpy()
        self._bury(rows.filter(pa.array(actions == Action.DEAD)))
        self._write(rows.filter(pa.array((actions == Action.EMBED) | (actions == Action.WRITE))))
        self._delete(rows.filter(pa.array(actions == Action.DELETE)))

    def _bury(self, rows: pa.RecordBatch) -> None:
        self._letters += zip(self._layout.names(rows), rows.column(REASON).to_pylist(), strict=True)
        self._dead += rows.num_rows

    def _write(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows == 0:
            return
        cells = self._cells(rows)
        refused = self._store.write(self._layout.target_table, cells)
        names = self._layout.names(rows.take(pa.array([each.row for each in refused], pa.int64())))
        self._letters += zip(names, (each.reason for each in refused), strict=True)
        self._dead += len(refused)
        self._written += rows.num_rows - len(refused)
        if self._transfer.read_back:
            taken = np.setdiff1d(np.arange(rows.num_rows), [each.row for each in refused])
            self._look_for_shadows(cells.take(pa.array(taken)))

    def _cells(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in the store's form."""
        # A cell that has expired meanwhile is written with its last second: it must not live for ever.
        rows = aged(rows)
        return rows.select([name for name in rows.schema.names if name not in (ACTION, REASON, DELETED_AT)])

    def _look_for_shadows(self, cells: pa.RecordBatch) -> None:
        """Read back what was written: cells that a newer delete hides were acknowledged but are not there."""
        # Taken before the reading: what is deleted after it stays deleted.
        looked_us = now_us()
        hidden = self._hidden(cells)
        if hidden.num_rows and self._transfer.overwrite_shadowed:
            now = pa.array(np.full(hidden.num_rows, looked_us))
            for column in self._columns:
                name = write_time(column)
                times = pc.if_else(pc.is_valid(hidden.column(name)), now, None)
                hidden = hidden.set_column(hidden.schema.get_field_index(name), name, times)
            self._store.write(self._layout.target_table, hidden)
            hidden = self._hidden(hidden)
        self._shadowed += hidden.num_rows

    def _hidden(self, cells: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of which a written value is not there."""
        if cells.num_rows == 0:
            return cells
        keys = [key.name for key in self._layout.keys]
        found = self._store.fetch(self._layout.target_table, cells.select(keys), times=self._columns)
        place = pc.index_in(key_array(cells, keys), value_set=key_array(found, keys))
        if self._layout.in_place:
            # A row that is gone from its own table was deleted; nothing of it is missing.
            cells, place = cells.filter(pc.is_valid(place)), pc.drop_null(place)
        found = found.take(place)
        valued = [cells.column(name).is_valid() for name in self._columns]
        seen = [found.column(write_time(name)).is_valid() for name in self._columns]
        lost = [pc.and_not(*each) for each in zip(valued, seen, strict=True)]
        return cells.filter(reduce(pc.or_, lost))

    @property
    def _columns(self) -> list[str]:
        return [column.name for column in (*self._layout.carried, *self._layout.made)]

    def _delete(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            if self._transfer.owner:
                check_may_delete(
                    self._store,
                    self._transfer.migration,
                    self._transfer.owner,
                    self._layout.target.table,
                    live=self._transfer.into_live,
                )
            keys = rows.select([key.name for key in self._layout.keys])
            self._store.delete(self._layout.target_table, keys, rows.column(DELETED_AT).to_numpy())
            self._deleted += rows.num_rows

    def record(self, reading: RangeReading) -> None:
        """Record the outcome of a range whose batches are all written."""
        self._throttle.end()
        within, attempt, read = reading.range, reading.attempt, reading.read
        counts = Counts(read, self._written, reading.unchanged, self._dead, self._deleted, self._shadowed)
        error = self.error or reading.error
        if not error and (not counts.balanced or self._deleted != reading.deleted):
            error = f"read {read} rows, but {self._written} written + {reading.unchanged} unchanged + {self._dead} dead"
        if not error:
            within = self._leave_rest(within, reading.reached, attempt)
        letters = [DeadLetter(id_, within, self._transfer.step, reason, attempt) for id_, reason in self._letters]
        write_dead_letters(self._store, self._transfer.migration, letters)
        state = "failed" if error else "done"
        seconds = time.monotonic() - self._started
        record = RangeRecord(within, state, counts, attempt, whoami(), error, seconds)
        write_ranges(self._store, self._transfer.migration, self._transfer.step, [record])
        log_range(self._transfer, record)

    def _leave_rest(self, within: TokenRange, reached: int, attempt: int) -> TokenRange:
        """Plan what was left of a range; returns the part that was read.

        The rest is recorded first: a task that ends in between leaves too much planned, never too little.
        """
        if reached == within.end:
            return within
        read = TokenRange(within.start, reached)
        rest = cut_rest(read, TokenRange(reached, within.end))
        parts = [RangeRecord(part, attempts=attempt - 1) for part in rest]
        write_ranges(self._store, self._transfer.migration, self._transfer.step, parts)
        return read
