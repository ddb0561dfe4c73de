"""Writes of a range into a target whose vector index learns of them from a change log (``stores.log_fed``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.catalog.ledger import Entry
from embedshift.embedding import DIGEST, Template, digest_texts
from embedshift.spark.rows import Layout
from embedshift.stores.contract import Store
from embedshift.stores.log_fed import LogFed
from embedshift.stores.merge_join import key_array
from embedshift.stores.model import Rejection, remaining_ttl, write_time


def log_fed_target(store: Store, layout: Layout) -> LogFedTarget | None:
    """The target as one whose index a log feeds; None if none does."""
    floor_us = store.write_floor(layout.target.table)
    if floor_us is None:
        return None
    return LogFedTarget(layout, LogFed(store, layout.target_table, layout.made, floor_us))


@dataclass(frozen=True, slots=True)
class Written:
    """What became of rows.

    Args:
        raised: cells that got a later time than they have in the source, with that time.
        rejected: what the store refuses.
        changed: the places of rows whose vector was not written, since somebody changed them meanwhile: the next pass
            compares them again.
    """

    raised: list[Entry]
    rejected: list[Rejection]
    changed: list[int]


@dataclass(frozen=True, slots=True)
class LogFedTarget:
    """Writes cells of ``Layout`` into such a table."""

    layout: Layout
    table: LogFed

    def write(self, cells: pa.RecordBatch, made_of: pa.Array) -> Written:
        """Write what is copied at its own time or the floor's, then the vectors at the present time.

        A vector is written only where the row still has the text that it was made of.

        Args:
            cells: as ``Store.write`` takes them.
            made_of: for each row the digest of that text, 16 bytes.
        """
        raised: list[Entry] = []
        refused: dict[int, str] = {}
        if not self.layout.in_place:
            raised, refused = self._copy(cells)
        of_vectors, changed = self._write_vectors(cells, made_of)
        refused |= of_vectors
        return Written(raised, [Rejection(row, reason) for row, reason in sorted(refused.items())], changed)

    def _copy(self, cells: pa.RecordBatch) -> tuple[list[Entry], dict[int, str]]:
        own = cells.select([name for name in cells.schema.names if not self._is_made(name)])
        own = self._without_those_there(own)
        touched = self._any_written(own)
        at = self.table.raised(own, self.layout.carried)
        rejected = self.table.store.write(self.table.table, at.filter(pa.array(touched)))
        places = np.flatnonzero(touched)
        return self._raised(own, at), {int(places[each.row]): each.reason for each in rejected}

    def _is_made(self, name: str) -> bool:
        return any(
            name in (column.name, write_time(column.name), remaining_ttl(column.name)) for column in self.layout.made
        )

    def _without_those_there(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Without the cells below the floor that the target has, or has newer ones of: they would only be raised."""
        names = [column.name for column in self.layout.carried]
        below = [pc.fill_null(pc.less(rows.column(write_time(name)), self.table.floor_us), False) for name in names]
        some = reduce(pc.or_, below, pa.array(np.full(rows.num_rows, False)))
        if not pc.any(some).as_py():
            return rows
        keys = [key.name for key in self.layout.keys]
        now = self.table.store.fetch(self.table.table, rows.filter(some).select(keys), times=names)
        place = pc.index_in(key_array(rows, keys), value_set=key_array(now, keys))
        for name, old in zip(names, below, strict=True):
            theirs, at = now.column(write_time(name)).take(place), rows.column(write_time(name))
            # A deletion with the time of the value that it is to delete is still to be made.
            same = pc.and_(pc.equal(theirs, at), pc.is_valid(rows.column(name)))
            there = pc.and_(old, pc.fill_null(pc.or_(pc.greater(theirs, at), same), False))
            for part in (name, write_time(name), remaining_ttl(name)):
                if part in rows.schema.names:
                    kept = pc.if_else(there, None, rows.column(part))
                    rows = rows.set_column(rows.schema.get_field_index(part), part, kept)
        return rows

    def _any_written(self, rows: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which rows have a cell to write; all of them if the table has nothing but keys and vectors."""
        if not self.layout.carried:
            return np.full(rows.num_rows, True)
        written = [rows.column(write_time(column.name)).is_valid() for column in self.layout.carried]
        found: NDArray[np.bool_] = reduce(pc.or_, written).to_numpy(zero_copy_only=False)
        return found

    def _raised(self, before: pa.RecordBatch, after: pa.RecordBatch) -> list[Entry]:
        found: dict[Entry, None] = {}
        for name in (write_time(column.name) for column in self.layout.carried):
            rows = after.filter(pc.fill_null(pc.not_equal(before.column(name), after.column(name)), False))
            named = zip(self.layout.names(rows), rows.column(name).to_pylist(), strict=True)
            found |= {Entry(*each): None for each in named}
        return list(found)

    def _write_vectors(self, cells: pa.RecordBatch, made_of: pa.Array) -> tuple[dict[int, str], list[int]]:
        made = [column.name for column in self.layout.made]
        wanted = reduce(pc.or_, [cells.column(write_time(name)).is_valid() for name in made])
        rows, of = cells.filter(wanted), made_of.filter(wanted)
        places = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
        now, place = self.table.found(rows, self._seen)
        fits = pc.fill_null(pc.equal(self._digests(now), of.take(place)), False)
        changed = place.filter(pc.and_not(pc.invert(fits), self._hidden(rows.take(place), now)))
        now, place = now.filter(fits), place.filter(fits)
        keys = [key.name for key in self.layout.keys]
        ttls = [name for name in map(remaining_ttl, made) if name in rows.schema.names]
        changes, seen = rows.take(place).select([*keys, *made, *ttls]), now.select([*keys, *self._seen])
        written = self.table.store.write_if(self.table.table, changes, seen)
        there = places[place.to_numpy(zero_copy_only=False)]
        refused = {int(there[each.row]): each.reason for each in written.rejected}
        late = [int(row) for row in there[~written.applied] if int(row) not in refused]
        return refused, [*late, *places[changed.to_numpy(zero_copy_only=False)].tolist()]

    def _hidden(self, rows: pa.RecordBatch, now: pa.RecordBatch) -> pa.Array:
        """Of which rows a part of the text that was written is not there: a newer deletion hides it."""
        texts = [name for name in self._seen if name != DIGEST]
        lost = [pc.and_(rows.column(name).is_valid(), now.column(name).is_null()) for name in texts]
        return reduce(pc.or_, lost, pa.array(np.full(rows.num_rows, False)))

    @property
    def _seen(self) -> Sequence[str]:
        """The columns on which a vector depends: its text, and the digest that says which text it was made of."""
        carried = {column.name for column in self.layout.carried}
        names = [name for name in self._template.columns if name in carried]
        return [*names, *([DIGEST] if self.layout.target.digests else [])]

    @property
    def _template(self) -> Template:
        return Template.parse(self.layout.source.text)

    def _digests(self, rows: pa.RecordBatch) -> pa.Array:
        texts, empty = self._template.render(rows), self._template.empty(rows)
        return digest_texts(self.layout.target.model.fingerprint, texts, empty)
