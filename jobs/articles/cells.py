"""Rows of a client's write as ``Store.write`` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.articles.keys import Key
from jobs.articles.vectors import Texts
from jobs.catalog.endpoint import Endpoint
from jobs.embedding import DIGEST
from jobs.stores.contract import Column, Table, write_time
from jobs.stores.values import arrow_type


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one row, all written at one time; None deletes a cell, what is not named stays as it is."""

    key: Key
    values: Mapping[str, Any]
    at_us: int


def made_columns(endpoint: Endpoint) -> tuple[str, ...]:
    """The columns that only embedshift writes: the vector, and its digest."""
    return (endpoint.vector, DIGEST)


def own_columns(endpoint: Endpoint, table: Table) -> tuple[Column, ...]:
    """The columns beside the key that callers read and write."""
    made = made_columns(endpoint)
    return tuple(column for column in table.others if column.name not in made)


def made_values(endpoint: Endpoint, texts: Texts, row: int, vector: Any) -> dict[str, Any]:
    """Vector and digest of one text; a row without text has the digest that says so, and its vector is deleted."""
    made: dict[str, Any] = {endpoint.vector: None if texts.empty[row] else vector}
    if endpoint.digests:
        made[DIGEST] = texts.digests[row]
    return made


def cells_batch(table: Table, rows: Sequence[Cells]) -> pa.RecordBatch:
    """Rows as one batch; they need not have the same columns."""
    arrays: dict[str, pa.Array] = {}
    for column in table.columns:
        kind = arrow_type(column.type)
        if column in table.keys:
            arrays[column.name] = pa.array([row.key[column.name] for row in rows], kind)
        elif any(column.name in row.values for row in rows):
            arrays[column.name] = pa.array([row.values.get(column.name) for row in rows], kind)
            times = [row.at_us if column.name in row.values else None for row in rows]
            arrays[write_time(column.name)] = pa.array(times, pa.int64())
    return pa.RecordBatch.from_pydict(arrays)
