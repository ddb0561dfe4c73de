"""Merging two scans of one token range: pairs of rows with one key, and rows that only one side has.

Both scans are in token order. Once the other scan has passed the token of a row, the row has no partner. Until then it
is held in memory. At most a batch of each side is held, and the rows of one partition that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.stores.cql_types import arrow_type
from embedshift.stores.model import TOKEN, Table, remaining_ttl, write_time
from embedshift.tokens import MIN_TOKEN


@dataclass(frozen=True, slots=True)
class Merged:
    """Rows that are decided: ``left`` and ``right`` have equal length and are pairs, the others have no partner."""

    left: pa.RecordBatch
    right: pa.RecordBatch
    left_only: pa.RecordBatch
    right_only: pa.RecordBatch


def key_array(rows: pa.RecordBatch, keys: Sequence[str]) -> pa.Array:
    """One value per row, equal exactly if the primary keys are equal: the key itself if it is one column."""
    if len(keys) == 1:
        return rows.column(keys[0])
    columns = [rows.column(key).to_pylist() for key in keys]
    return pa.array([repr(key).encode() for key in zip(*columns, strict=True)], pa.binary())


def paired(left: pa.RecordBatch, right: pa.RecordBatch, keys: Sequence[str]) -> Merged:
    """Two sets of fetched rows, in any order, merged; each key may be in either at most once."""
    ours, theirs = key_array(left, keys), key_array(right, keys)
    partner = pc.index_in(ours, value_set=theirs)
    there = pc.is_valid(partner)
    return Merged(
        left.filter(there),
        right.take(pc.drop_null(partner)),
        left.filter(pc.invert(there)),
        right.filter(pc.invert(pc.is_in(theirs, value_set=ours))),
    )


class _Side:
    """One scan: its rows that are held, and how far it is."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches = batches
        self.held = empty_batch(schema)
        self.frontier = MIN_TOKEN
        self.ended = False

    def advance(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self.ended = True
            return
        self.frontier = batch.column(TOKEN)[-1].as_py()
        self.held = batch if self.held.num_rows == 0 else pa.concat_batches([self.held, batch])

    def passed(self, token: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which tokens can have no further row in this scan."""
        return np.full(len(token), True) if self.ended else token < self.frontier


def merge(
    left: Iterator[pa.RecordBatch],
    right: Iterator[pa.RecordBatch],
    *,
    schemas: tuple[pa.Schema, pa.Schema],
    keys: Sequence[str],
) -> Iterator[Merged]:
    """Merge two scans of one range.

    Args:
        left: batches in token order, with ``token()`` and the key columns.
        right: the same of the other table.
        schemas: of both, for a side without a batch.
        keys: the names of the key columns.
    """
    one, two = _Side(left, schemas[0]), _Side(right, schemas[1])
    while not (one.ended and two.ended):
        behind = one if not one.ended and (two.ended or _is_behind(one, two)) else two
        behind.advance()
        merged = _settle(one, two, keys)
        if merged.left.num_rows or merged.left_only.num_rows or merged.right_only.num_rows:
            yield merged


def _is_behind(one: _Side, two: _Side) -> bool:
    return (one.frontier, one.held.num_rows) <= (two.frontier, two.held.num_rows)


def _settle(one: _Side, two: _Side, keys: Sequence[str]) -> Merged:
    rows = min(one.held.num_rows, two.held.num_rows)
    ours, theirs = one.held.slice(0, rows), two.held.slice(0, rows)
    if rows and all(ours.column(key).equals(theirs.column(key)) for key in keys):
        # Both sides have the same rows next, as in most of a table that is up to date: no look-up, no copy.
        one.held, two.held = one.held.slice(rows), two.held.slice(rows)
        return Merged(ours, theirs, ours.slice(rows), theirs.slice(rows))
    partner = pc.index_in(key_array(one.held, keys), value_set=key_array(two.held, keys))
    found = pc.is_valid(partner).to_numpy(zero_copy_only=False)
    pairs = np.flatnonzero(found)
    partners = pc.drop_null(partner).to_numpy(zero_copy_only=False)
    met = np.zeros(two.held.num_rows, bool)
    met[partners] = True
    one_alone = ~found & two.passed(_tokens(one.held))
    two_alone = ~met & one.passed(_tokens(two.held))
    merged = Merged(
        one.held.take(pa.array(pairs)),
        two.held.take(pa.array(partners)),
        one.held.filter(pa.array(one_alone)),
        two.held.filter(pa.array(two_alone)),
    )
    one.held = one.held.filter(pa.array(~found & ~one_alone))
    two.held = two.held.filter(pa.array(~met & ~two_alone))
    return merged


def _tokens(rows: pa.RecordBatch) -> NDArray[np.int64]:
    tokens: NDArray[np.int64] = rows.column(TOKEN).to_numpy()
    return tokens


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def scan_schema(table: Table, *, values: list[str], times: list[str]) -> pa.Schema:
    """The schema of a scan of these columns, for a range without rows."""
    fields = [pa.field(TOKEN, pa.int64())]
    fields += [pa.field(key.name, arrow_type(key.type)) for key in table.keys]
    fields += [pa.field(c.name, arrow_type(c.type)) for c in table.others if c.name in values]
    for name in times:
        fields += [pa.field(write_time(name), pa.int64()), pa.field(remaining_ttl(name), pa.int32())]
    return pa.schema(fields)
