"""Write a range's rows into the target, read them back if wanted, and account for every one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.catalog.ledger import Entry, confirm, enter
from embedshift.catalog.ranges import Counts
from embedshift.embedding import DIGEST, Template, hash_vectors, whole_digests
from embedshift.spark.compare_vectors import greatest
from embedshift.spark.expiry import with_ttls
from embedshift.spark.fence import Fence
from embedshift.spark.log_fed import log_fed_target
from embedshift.spark.rows import ACTION, DELETED_AT, ENTERED, MADE_OF, REASON, Action, Layout
from embedshift.spark.stores import Stores
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.stores.merge_join import key_array
from embedshift.stores.model import Column, Rejection, Table, write_time
from embedshift.times import now_us

_NOT_CELLS = (ACTION, REASON, DELETED_AT, ENTERED, MADE_OF)


class Writer:
    """Writes the windows of one range into the target, and counts what became of their rows.

    ``letters`` has the key and the reason of each dead row; ``fence`` says whether this task may still write.
    """

    def __init__(self, stores: Stores, transfer: Transfer) -> None:
        self.letters: list[tuple[str, str]] = []
        self._source, self._store, self._catalog = stores.source, stores.target, stores.catalog
        self._began_us = now_us()
        self._transfer, self.fence = transfer, Fence(stores, transfer)
        self._layout: Layout = transfer.layout
        self._log_fed = log_fed_target(self._store, self._catalog, transfer)
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
        self.fence.before_writing()
        cells = self._cells(rows)
        entries = self._entered(rows)
        refused, changed = self._put(cells, rows.column(MADE_OF))
        names = self._layout.names(rows.take(pa.array([each.row for each in refused], pa.int64())))
        self.letters += zip(names, (each.reason for each in refused), strict=True)
        self._dead += len(refused)
        self._written += rows.num_rows - len(refused)
        if self._layout.in_place:
            self._undo_ghosts(cells)
        if self._transfer.read_back:
            # What somebody else has changed since is compared by the next pass, and no deletion hides it.
            taken = np.setdiff1d(np.arange(rows.num_rows), [*(each.row for each in refused), *changed])
            hidden = self._look_for_shadows(cells.take(pa.array(taken)), rows.column(MADE_OF).take(pa.array(taken)))
            absent = {*names, *self._layout.names(hidden)}
            confirm(self._catalog, self._transfer.migration, [each for each in entries if each.id not in absent])

    def _cells(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in the store's form."""
        rows = self._naming_vectors(with_ttls(rows))
        return rows.select([name for name in rows.schema.names if name not in _NOT_CELLS])

    def _put(self, cells: pa.RecordBatch, made_of: pa.Array) -> tuple[list[Rejection], list[int]]:
        """Write cells at their own times; if a log feeds the target's index, as that demands.

        Args:
            cells: in the store's form.
            made_of: for each row the digest of the text that its vector belongs to.

        Returns:
            What the store refuses, and the places of rows that somebody has changed meanwhile.
        """
        if self._log_fed is None:
            return self._store.write(self._layout.target_table, cells), []
        done = self._log_fed.write(cells, made_of)
        return done.rejected, done.changed

    def _naming_vectors(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The digests of vectors that were computed now name them; a copied vector has the digest that it had."""
        if not self._layout.target.digests:
            return rows
        vectors, digests = rows.column(self._layout.target.vector), rows.column(DIGEST)
        computed = pc.and_(pc.equal(rows.column(ACTION), int(Action.EMBED)), pc.is_valid(vectors))
        named = whole_digests(digests.filter(computed), hash_vectors(matrix(vectors.filter(computed))))
        return rows.set_column(
            rows.schema.get_field_index(DIGEST), DIGEST, pc.replace_with_mask(digests, computed, named)
        )

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

    def _undo_ghosts(self, rows: pa.RecordBatch) -> None:
        """Delete vectors that were written to rows which somebody deleted after they were read."""
        names = [column.name for column in self._layout.carried]
        now = self._times_now(self._store, self._layout.target_table, rows, self._layout.carried)
        had = [pc.is_valid(rows.column(write_time(name))) for name in names]
        has = [pc.is_valid(now[name]) for name in names]
        nothing = pa.array(np.full(rows.num_rows, False))
        gone = pc.and_not(reduce(pc.or_, had, nothing), reduce(pc.or_, has, nothing))
        ghosts = rows.filter(gone)
        if ghosts.num_rows:
            at = greatest([ghosts.column(write_time(column.name)) for column in self._layout.made])
            keys = ghosts.select([key.name for key in self._layout.keys])
            self._remove(keys, pc.fill_null(at, 0).to_numpy())

    def _look_for_shadows(self, cells: pa.RecordBatch, made_of: pa.Array) -> pa.RecordBatch:
        """Read back what was written. Returns what was acknowledged but is not there: a newer delete hides it."""
        hidden = self._hidden(cells)
        if pc.any(hidden).as_py() and self._transfer.overwrite_shadowed:
            cells, made_of = cells.filter(hidden), made_of.filter(hidden)
            self._overwrite(cells, made_of)
            hidden = self._hidden(cells)
        lost = cells.filter(hidden)
        self._shadowed += lost.num_rows
        return lost

    def _overwrite(self, rows: pa.RecordBatch, made_of: pa.Array) -> None:
        """Write cells again that a newer delete hides, if the source still has the very cells that they come from.

        Their new time is that of the range's beginning: whatever is deleted after that stays deleted.
        """
        self.fence.before_deleting()
        now = self._times_now(self._source, self._layout.source_table, rows, self._layout.carried)
        there = self._times_now(
            self._store, self._layout.target_table, rows, (*self._layout.carried, *self._layout.made)
        )
        texts = [name for name in Template.parse(self._layout.source.text).columns if name in now]
        same = {name: pc.fill_null(pc.equal(rows.column(write_time(name)), now[name]), False) for name in now}
        # A vector comes from the whole text; a part of the text that was not read has no time.
        whole = [pc.or_(same[name], pc.is_null(rows.column(write_time(name)))) for name in texts]
        fits = reduce(pc.and_, whole, pa.array(np.full(rows.num_rows, True)))
        hidden = {name: pc.and_(pc.is_valid(rows.column(name)), pc.is_null(there[name])) for name in there}
        # Vector and digest are written together, or not at all.
        made = pc.and_(fits, reduce(pc.or_, [hidden[column.name] for column in self._layout.made]))
        # A table that is repaired from itself gives nothing but vectors.
        own = pa.array(np.full(rows.num_rows, not self._layout.in_place))
        for name in self._columns:
            chosen = pc.and_(reduce(pc.and_, [hidden[name], same[name]]), own) if name in same else made
            again = pc.if_else(pc.and_(chosen, pc.is_valid(rows.column(name))), self._began_us, None)
            value = pc.if_else(pc.is_valid(again), rows.column(name), None)
            rows = rows.set_column(rows.schema.get_field_index(write_time(name)), write_time(name), again)
            rows = rows.set_column(rows.schema.get_field_index(name), name, value)
        again = reduce(pc.or_, [pc.is_valid(rows.column(write_time(name))) for name in self._columns])
        rows = rows.filter(again)
        if rows.num_rows:
            self._enter(self._layout.entries(rows, self._began_us))
            self._put(rows, made_of.filter(again))

    def _times_now(
        self, store: Store, table: Table, rows: pa.RecordBatch, columns: Sequence[Column]
    ) -> dict[str, pa.Array]:
        """The write times of cells as a table has them now, in the order of ``rows``; null for what is not there."""
        keys, names = [key.name for key in self._layout.keys], [column.name for column in columns]
        found = store.fetch(table, rows.select(keys), times=names)
        place = pc.index_in(key_array(rows, keys), value_set=key_array(found, keys))
        return {name: found.column(write_time(name)).take(place) for name in names}

    def _hidden(self, cells: pa.RecordBatch) -> pa.Array:
        """Of which rows a written value is not there; n booleans."""
        if cells.num_rows == 0:
            return pa.array([], pa.bool_())
        keys = [key.name for key in self._layout.keys]
        found = self._store.fetch(self._layout.target_table, cells.select(keys), times=self._columns)
        place = pc.index_in(key_array(cells, keys), value_set=key_array(found, keys))
        found = found.take(place)
        valued = [cells.column(name).is_valid() for name in self._columns]
        seen = [found.column(write_time(name)).is_valid() for name in self._columns]
        lost = [pc.and_not(*each) for each in zip(valued, seen, strict=True)]
        hidden = reduce(pc.or_, lost)
        if self._layout.in_place:  # A row that is gone from its own table was deleted; nothing of it is missing.
            return pc.and_(hidden, pc.is_valid(place))
        # Of a row that has no value nothing else can tell.
        return pc.or_(hidden, pc.is_null(place))

    @property
    def _columns(self) -> list[str]:
        return [column.name for column in (*self._layout.carried, *self._layout.made)]

    def _delete(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            self.fence.before_deleting()
            keys = rows.select([key.name for key in self._layout.keys])
            self._remove(keys, rows.column(DELETED_AT).to_numpy())
            self._deleted += rows.num_rows

    def _remove(self, keys: pa.RecordBatch, at_us: NDArray[np.int64]) -> None:
        if self._log_fed is None:
            self._store.delete(self._layout.target_table, keys, at_us)
        else:
            self._log_fed.delete(keys, at_us)
