"""One search: candidates from the graph, the living among them from the table, exact scores."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import InputError, SchemaError
from jobs.stores.contract import TOKEN, Hit, Index, Table
from jobs.stores.embedded.cells import cell, cell_alive
from jobs.stores.embedded.columns import to_batch, vectors
from jobs.stores.embedded.index_file import indexable, similarities
from jobs.stores.embedded.replica import Replica
from jobs.stores.embedded.rows import Reading, now_s

_LOOKUP_ROWS = 500


def checked(index: Index, table: Table, query: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The question as float32 of shape (dimension,).

    Raises:
        InputError: it cannot be compared with the index's vectors, or ``k`` is negative.
        SchemaError: the index is of another table.
    """
    if index.table.lower() != table.name.lower():
        raise SchemaError(f"index {index.name} is of table {index.table}, not of {table.name}", hint="name another")
    query = np.asarray(query, np.float32)
    if query.shape != (index.dimension,):
        raise InputError(
            f"a question of shape {query.shape} cannot be compared with vectors of {index.dimension} dimensions",
            hint="embed it with the model of the index",
        )
    if not indexable(index.options.metric, query[np.newaxis])[0]:
        raise InputError(f"a question's vector has no {index.options.metric} similarity: it is zero, or not finite")
    if k < 0:
        raise InputError(f"{k} is no number of results")
    return query


def live_rows(
    connection: sqlite3.Connection, replica: Replica, reading: Reading, query: NDArray[np.float32], k: int
) -> list[Any]:
    """At least the ``k`` nearest rows whose vector is alive, fewer where there are fewer.

    What has expired since it was indexed leaves the graph as it is met; each round asks for twice as many, so the
    rounds are few however many have expired.
    """
    count = k
    while True:
        numbers = replica.nearest(query, count)
        rows = [row for part in _parts(numbers) for row in _lookup(connection, replica.index, reading, part)]
        dead = set(numbers) - {row[0] for row in rows}
        replica.forget(dead)
        if not dead or len(rows) >= k:
            return rows
        count *= 2


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(numbers), _LOOKUP_ROWS):
        yield numbers[at : at + _LOOKUP_ROWS]


def _lookup(connection: sqlite3.Connection, index: Index, reading: Reading, numbers: list[int]) -> list[Any]:
    """Number, vector and what is asked for of those rows whose vector is alive."""
    places = ", ".join(f":r{at}" for at in range(len(numbers)))
    statement = (
        f"SELECT row, {cell(index.column)[0]}, {reading.columns} FROM {reading.source}"
        f" WHERE row IN ({places}) AND {cell_alive(index.column)}"
    )
    parameters = {"now": now_s(), **{f"r{at}": number for at, number in enumerate(numbers)}}
    return connection.execute(statement, parameters).fetchall()


def hits(index: Index, reading: Reading, query: NDArray[np.float32], rows: list[Any]) -> list[Hit]:
    """Rows as results, nearest first, with exact scores: the graph's own may be of rounded vectors."""
    if not rows:
        return []
    matrix = vectors([row[1] for row in rows], index.dimension)
    scores = similarities(index.options.metric, query, matrix)
    records = to_batch(reading.schema, reading.types, [row[2:] for row in rows]).drop_columns([TOKEN]).to_pylist()
    order = np.argsort(-scores, kind="stable").tolist()
    return [Hit(float(scores[at]), records[at]) for at in order]
