"""Writes of a range into a target whose vector index learns of them from a change log (``stores.log_fed``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.catalog.raised_cells import WHOLE_ROW, RaisedCell, enter_raised
from embedshift.embedding import DIGEST, Template, digest_texts
from embedshift.spark.known import Known
from embedshift.spark.rows import Layout
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.stores.log_fed import LogFed
from embedshift.stores.model import Rejection, remaining_ttl, write_time


def log_fed_target(store: Store, catalog: Store, transfer: Transfer) -> LogFedTarget | None:
    """The target as one whose index a log feeds; None if none does, and none has while cells were copied."""
    layout = transfer.layout
    known = Known(catalog, transfer)
    floor_us = store.write_floor(layout.target.table)
    if floor_us is None and not known.any_raised(layout.target.table):
        return None
    table = LogFed(store, layout.target_table, layout.made, floor_us or 0)
    return LogFedTarget(layout, table, catalog, transfer.migration, known)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of rows.

    Args:
        rejected: what the store refuses.
        changed: the places of rows whose vector was not written, since somebody changed them meanwhile: the next pass
            compares them again.
    """

    rejected: list[Rejection]
    changed: list[int]


@dataclass(frozen=True, slots=True)
class LogFedTarget:
    """Writes cells of ``Layout`` into such a table.

    Args:
        layout: which columns are carried.
        table: the target.
        catalog: the store that has the catalog.
        migration: its id.
        known: knows the cells that the target has with a later time than their own.
    """

    layout: Layout
    table: LogFed
    catalog: Store
    migration: str
    known: Known

    def write(self, cells: pa.RecordBatch, made_of: pa.Array) -> Written:
        """Write what is copied at its own time or above the floor, then the vectors at the present time.

        A vector is written only where the row still has the text that it was made of.

        Args:
            cells: as ``Store.write`` takes them.
            made_of: for each row the digest of that text, 16 bytes.
        """
        refused = {} if self.layout.in_place else self._copy(cells)
        of_vectors, changed = self._write_vectors(cells, made_of)
        refused |= of_vectors
        return Written([Rejection(row, reason) for row, reason in sorted(refused.items())], changed)

    def delete(self, keys: pa.RecordBatch, own_us: NDArray[np.int64]) -> None:
        """Delete rows, each at its own time, or above whatever of it has a later time in the table."""
        names = self.layout.names(keys)
        above: dict[str, int] = {}
        for each in self.known.raised(self.layout.target.table, names):
            above[each.id] = max(above.get(each.id, 0), each.at_us)
        least = np.array([above.get(name, 0) for name in names], np.int64)
        at_us = np.maximum(np.maximum(np.asarray(own_us, np.int64), self.table.floor_us), least)
        later = np.flatnonzero(at_us > own_us).tolist()
        self._enter([RaisedCell(names[at], WHOLE_ROW, int(at_us[at]), int(own_us[at])) for at in later])
        self.table.delete(keys, at_us)

    def _enter(self, cells: list[RaisedCell]) -> None:
        """Before they are written: whoever finds them later must know what they are."""
        if not self.layout.in_place:
            enter_raised(self.catalog, self.migration, self.layout.target.table, cells)

    def _copy(self, cells: pa.RecordBatch) -> dict[int, str]:
        own = cells.select([name for name in cells.schema.names if not self._is_made(name)])
        placed, raised = self._placed(own)
        self._enter(raised)
        return {each.row: each.reason for each in self.table.store.write(self.table.table, placed)}

    def _is_made(self, name: str) -> bool:
        return any(
            name in (column.name, write_time(column.name), remaining_ttl(column.name)) for column in self.layout.made
        )

    def _placed(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, list[RaisedCell]]:
        """Cells with the times at which they are written, and those among them that are later than their own.

        What the target has already, or has a newer one of, is left out.
        """
        floor_us = self.table.floor_us
        names = [column.name for column in self.layout.carried]
        late = [pc.fill_null(pc.less(rows.column(write_time(name)), floor_us), False) for name in names]
        some = reduce(pc.or_, late, pa.array(np.full(rows.num_rows, not floor_us)))
        if not pc.any(some).as_py():
            return rows, []
        places = np.flatnonzero(some.to_numpy(zero_copy_only=False))
        chosen = rows.take(pa.array(places))
        ids = self.layout.names(chosen)
        before = _Before(self.known.raised(self.layout.target.table, ids))
        now, at = self.table.found(chosen, names, names)
        theirs = dict(zip(at.to_pylist(), now.to_pylist(), strict=True))
        raised: list[RaisedCell] = []
        for name in names:
            times, values = rows.column(write_time(name)).to_pylist(), chosen.column(name).to_pylist()
            for row, place in enumerate(places.tolist()):
                own_us = times[place]
                if own_us is None:
                    continue
                there = theirs.get(row) or {}
                there_us = before.own(ids[row], name, there.get(write_time(name)))
                # Of two writes of one time the source has the one that counts: another value, or a deletion.
                if there_us is not None and (there_us > own_us or (there_us == own_us and values[row] == there[name])):
                    times[place] = None
                    continue
                times[place] = max(own_us, floor_us, before.above(ids[row], name, own_us))
                if times[place] > own_us:
                    raised.append(RaisedCell(ids[row], name, times[place], own_us))
            written = pa.array(times, pa.int64())
            rows = rows.set_column(rows.schema.get_field_index(write_time(name)), write_time(name), written)
            for part in (name, remaining_ttl(name)):
                if part in rows.schema.names:
                    kept = pc.if_else(written.is_valid(), rows.column(part), None)
                    rows = rows.set_column(rows.schema.get_field_index(part), part, kept)
        return rows, raised

    def _write_vectors(self, cells: pa.RecordBatch, made_of: pa.Array) -> tuple[dict[int, str], list[int]]:
        made = [column.name for column in self.layout.made]
        wanted = reduce(pc.or_, [cells.column(write_time(name)).is_valid() for name in made])
        rows, of = cells.filter(wanted), made_of.filter(wanted)
        places = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
        now, place = self.table.found(rows, self._seen, ())
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


class _Before:
    """What is known of cells that were raised before."""

    def __init__(self, cells: Sequence[RaisedCell]) -> None:
        self._own = {(each.id, each.cell, each.at_us): each.own_us for each in cells}
        self._of: dict[tuple[str, str], list[RaisedCell]] = {}
        for each in cells:
            self._of.setdefault((each.id, each.cell), []).append(each)

    def own(self, id_: str, cell: str, at_us: int | None) -> int | None:
        """The own time of the cell that a row has now, with that time."""
        return at_us if at_us is None else self._own.get((id_, cell, at_us), at_us)

    def above(self, id_: str, cell: str, own_us: int) -> int:
        """Just above everything of that cell, deletions of its row included, that does not count against it.

        That is what is older by its own time, and of the cell itself also what has the same time.
        """
        of_cell = [each for each in self._of.get((id_, cell), ()) if each.own_us <= own_us]
        of_row = [each for each in self._of.get((id_, WHOLE_ROW), ()) if each.own_us < own_us]
        return max((each.at_us + 1 for each in (*of_cell, *of_row)), default=0)
