"""The rows that differ between two tables, on their way from the comparison to the writer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.catalog.ledger import Entry
from embedshift.catalog.ranges import Counts
from embedshift.catalog.vector_table import VectorTable
from embedshift.embedding import DIGEST, Texts
from embedshift.errors import SchemaError
from embedshift.spark.expiry import expiry
from embedshift.stores.cql_types import arrow_type, to_json
from embedshift.stores.model import Column, Table, write_time


class Action(IntEnum):
    """What to do with a row."""

    EMBED = 1
    WRITE = 2
    DELETE = 3
    DEAD = 4


# Columns besides those of the table. Parentheses keep them apart from any column that a table can have.
ACTION = "action()"
#: Why a row is dead.
REASON = "reason()"
#: The young write times, in microseconds, of what is copied from the source: the ledger is to know them.
ENTERED = "entered()"
#: The digest, 16 bytes, of the text that the vector belongs to.
MADE_OF = "made_of()"
#: The time with which a DELETE row is deleted, in microseconds.
DELETED_AT = "deleted_at()"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are carried between two tables, and the schema of the rows.

    The tables may be in two stores. ``in_place`` says that they are one, which is repaired from itself.
    The ids (``Store.table_id``) tell them from tables that were created anew under their names.
    """

    source: VectorTable
    target: VectorTable
    source_table: Table
    target_table: Table
    in_place: bool = False
    source_id: str = ""
    target_id: str = ""

    @property
    def keys(self) -> tuple[Column, ...]:
        """The primary key, the same in both tables."""
        return self.source_table.keys

    @property
    def carried(self) -> tuple[Column, ...]:
        """Non-key columns that are copied unchanged: all but the vectors and their digests."""
        made = {self.source.vector, self.target.vector, DIGEST}
        return tuple(c for c in self.source_table.others if c.name not in made)

    @property
    def copies_vectors(self) -> bool:
        """Whether both tables have one model. A table that is repaired from itself has nothing to copy."""
        return self.source.model.fingerprint == self.target.model.fingerprint and not self.in_place

    @property
    def digests(self) -> tuple[Column, ...]:
        """The digest column of the target; empty if the target keeps no digests."""
        return (Column(DIGEST, "blob"),) if self.target.digests else ()

    @property
    def made(self) -> tuple[Column, ...]:
        """The columns that the pipeline makes: the vector, and its digest if the target keeps one."""
        column = self.target_table.column(self.target.vector)
        if column is None:
            raise SchemaError(f"{self.target.table} has no column {self.target.vector}")
        return (column, *self.digests)

    def names(self, rows: pa.RecordBatch) -> list[str]:
        """The primary key of each row as JSON: how the catalog and people name a row."""
        columns = [[to_json(key.type, value) for value in rows.column(key.name).to_pylist()] for key in self.keys]
        keys = [key.name for key in self.keys]
        return [json.dumps(dict(zip(keys, values, strict=True))) for values in zip(*columns, strict=True)]

    def entries(self, rows: pa.RecordBatch, since_us: int, other: pa.RecordBatch | None = None) -> list[Entry]:
        """The young cells of rows for the ledger: for each row, its write times that are not before ``since_us``.

        Args:
            rows: with keys and write times.
            since_us: in microseconds.
            other: the same rows in the other table: only cells that have the same write time there.
        """
        chosen, times = [], []
        for name in (write_time(column.name) for column in self.carried):
            young = pc.greater_equal(rows.column(name), since_us)
            if other is not None:
                young = pc.and_(young, pc.equal(rows.column(name), other.column(name)))
            chosen.append(pc.fill_null(young, False).to_numpy(zero_copy_only=False))
            times.append(rows.column(name))
        places = np.flatnonzero(np.logical_or.reduce(chosen)) if chosen else np.empty(0, np.int64)
        if not len(places):
            return []
        names = self.names(rows.take(pa.array(places)))
        found: dict[Entry, None] = {}
        for young, column in zip(chosen, times, strict=True):
            at = column.take(pa.array(places)).to_pylist()
            found |= {Entry(*each): None for *each, is_young in zip(names, at, young[places], strict=True) if is_young}
        return list(found)

    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows."""
        fields = [pa.field(ACTION, pa.int8()), pa.field(REASON, pa.string()), pa.field(DELETED_AT, pa.int64())]
        fields += [pa.field(ENTERED, pa.list_(pa.int64())), pa.field(MADE_OF, pa.binary())]
        fields += [pa.field(key.name, arrow_type(key.type)) for key in self.keys]
        for column in (*self.carried, *self.made):
            fields.append(pa.field(column.name, arrow_type(column.type)))
            fields.append(pa.field(write_time(column.name), pa.int64()))
            fields.append(pa.field(expiry(column.name), pa.int64()))
        return pa.schema(fields)


@dataclass(frozen=True, slots=True)
class Window:
    """Rows to carry, in the schema of ``Layout.schema``; perhaps none.

    ``counts`` are of the source rows that were compared to find them: read, unchanged, and the rows to delete.
    ``texts`` is what is to be embedded, for the rows whose action says so, once it is tokenised.
    """

    rows: pa.RecordBatch
    counts: Counts = field(default_factory=Counts)
    texts: Texts | None = None


def to_carry(
    layout: Layout, rows: pa.RecordBatch, action: Action | pa.Array, columns: dict[str, pa.Array]
) -> pa.RecordBatch:
    """Rows together with what to do with them.

    Args:
        rows: their primary keys.
        action: for all of them, or one for each.
        columns: further columns; the rest is null.
    """
    schema = layout.schema()
    if isinstance(action, Action):
        action = pa.array(np.full(rows.num_rows, int(action), np.int8))
    columns = {
        **{key.name: rows.column(key.name) for key in layout.keys},
        **columns,
        ACTION: action,
    }
    arrays = [columns.get(each.name) for each in schema]
    return pa.RecordBatch.from_arrays(
        [
            pa.nulls(rows.num_rows, each.type) if array is None else _typed(array, each.type)
            for array, each in zip(arrays, schema, strict=True)
        ],
        schema=schema,
    )


def _typed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)
