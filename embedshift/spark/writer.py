"""Write a range's rows into the target, read them back if wanted, and account for every one."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.catalog.ledger import Entry, confirm, enter
from embedshift.catalog.ranges import Counts
from embedshift.spark.expiry import with_ttls
from embedshift.spark.fence import Fence
from embedshift.spark.rows import ACTION, DELETED_AT, ENTERED, REASON, Action, Layout
from embedshift.spark.stores import Stores
from embedshift.spark.transfer import Transfer
from embedshift.stores.merge_join import key_array
from embedshift.stores.model import write_time
from embedshift.times import now_us


class Writer:
    """Writes the windows of one range into the target, and counts what became of their rows.

    ``letters`` has the key and the reason of each dead row.
    """

    def __init__(self, stores: Stores, transfer: Transfer) -> None:
        self.letters: list[tuple[str, str]] = []
        self._source, self._store, self._catalog = stores.source, stores.target, stores.catalog
        self._transfer, self._fence = transfer, Fence(stores, transfer)
        self._layout: Layout = transfer.layout
        self._written = self._dead = self._deleted = self._shadowed = 0

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        return Counts(written=self._written, dead=self._dead, deleted=self._deleted, shadowed=self._shadowed)

    def apply(self, rows: pa.RecordBatch) -> None:
        """Do with each row what its action says."""
        actions = rows.column(ACTION).to_numpy()
        self._bury(rows.filter(pa.array(actions == Action.DEAD)))
        self._write(rows.filter(pa.array((actions == Action.EMBED) | (actions == Action.WRITE))))
        self._delete(rows.filter(pa.array(actions == Action.DELETE)))

    def _bury(self, rows: pa.RecordBatch) -> None:
        self.letters += zip(self._layout.names(rows), rows.column(REASON).to_pylist(), strict=True)
        self._dead += rows.num_rows

    def _write(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows == 0:
            return
        self._fence.before_writing()
        cells = self._cells(rows)
        entries = self._entered(rows)
        refused = self._store.write(self._layout.target_table, cells)
        names = self._layout.names(rows.take(pa.array([each.row for each in refused], pa.int64())))
        self.letters += zip(names, (each.reason for each in refused), strict=True)
        self._dead += len(refused)
        self._written += rows.num_rows - len(refused)
        if self._transfer.read_back:
            taken = np.setdiff1d(np.arange(rows.num_rows), [each.row for each in refused])
            hidden = self._look_for_shadows(cells.take(pa.array(taken)))
            absent = {*names, *self._layout.names(hidden)}
            confirm(self._catalog, self._transfer.migration, [each for each in entries if each.id not in absent])

    def _cells(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in the store's form."""
        rows = with_ttls(rows)
        return rows.select([name for name in rows.schema.names if name not in (ACTION, REASON, DELETED_AT, ENTERED)])

    def _entered(self, rows: pa.RecordBatch) -> list[Entry]:
        """Enter in the ledger, before they are written, the cells that are too young for the switch to decide."""
        young = rows.filter(pc.is_valid(rows.column(ENTERED)))
        named = zip(self._layout.names(young), young.column(ENTERED).to_pylist(), strict=True)
        return self._enter([Entry(name, at_us) for name, times in named for at_us in times])

    def _enter(self, entries: list[Entry]) -> list[Entry]:
        if not self._transfer.owner:
            return []
        enter(self._catalog, self._transfer.migration, self._layout.target.table, entries)
        return entries

    def _look_for_shadows(self, cells: pa.RecordBatch) -> pa.RecordBatch:
        """Read back what was written. Returns what was acknowledged but is not there: a newer delete hides it."""
        # Taken before the reading: what is deleted after it stays deleted.
        looked_us = now_us()
        hidden = self._hidden(cells)
        if hidden.num_rows and self._transfer.overwrite_shadowed:
            self._overwrite(hidden, looked_us)
            hidden = self._hidden(hidden)
        self._shadowed += hidden.num_rows
        return hidden

    def _overwrite(self, hidden: pa.RecordBatch, looked_us: int) -> None:
        """Write hidden rows again at the present time, but for those that their source has lost meanwhile."""
        keys = [key.name for key in self._layout.keys]
        there = self._source.fetch(self._layout.source_table, hidden.select(keys))
        hidden = hidden.filter(pc.is_valid(pc.index_in(key_array(hidden, keys), value_set=key_array(there, keys))))
        now = pa.array(np.full(hidden.num_rows, looked_us))
        for column in self._columns:
            name = write_time(column)
            times = pc.if_else(pc.is_valid(hidden.column(name)), now, None)
            hidden = hidden.set_column(hidden.schema.get_field_index(name), name, times)
        if hidden.num_rows:
            self._enter(self._layout.entries(hidden, looked_us))
            self._store.write(self._layout.target_table, hidden)

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
            self._fence.before_deleting()
            keys = rows.select([key.name for key in self._layout.keys])
            self._store.delete(self._layout.target_table, keys, rows.column(DELETED_AT).to_numpy())
            self._deleted += rows.num_rows
