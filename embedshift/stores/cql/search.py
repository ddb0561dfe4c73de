"""Searching a vector index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import InputError, SchemaError
from embedshift.stores.cql import driver_errors, wire
from embedshift.stores.cql.batch import wire_values
from embedshift.stores.cql.dialect import RESULTS_MAX, Dialect
from embedshift.stores.cql.quoting import qualified, quote
from embedshift.stores.cql.session import SCAN, CqlConnection, bound, retrying
from embedshift.stores.cql_types import arrow_type
from embedshift.stores.model import Hit, Index, Table
from embedshift.stores.similarity import from_similarity, similarities


def search(
    connection: CqlConnection,
    dialect: Dialect,
    table: Table,
    index: Index,
    query: NDArray[np.float32],
    k: int,
    values: Sequence[str],
    where: Mapping[str, Any],
) -> list[Hit]:
    """The ``k`` nearest rows, nearest first (``contract.Store.search``); ``k`` is 1 to ``RESULTS_MAX``."""
    vector = np.ascontiguousarray(query, np.float32)
    if vector.shape != (index.dimension,):
        raise InputError(f"a query of {index.name} has {index.dimension} dimensions, not {vector.size}")
    if not 1 <= k <= RESULTS_MAX:
        raise InputError(f"a search gives 1 to {RESULTS_MAX} results, not {k}", hint="ask for fewer")
    if not np.isfinite(vector).all() or (index.options.metric == "cosine" and not vector.any()):
        raise InputError(
            "the query has no direction (zeros, or numbers that are not finite)", hint="search for another text"
        )
    names = [*(column.name for column in table.keys), *values]
    function = dialect.similarity(connection, index)
    only = [wire_values(pa.array([value], arrow_type(_type(table, name))))[0] for name, value in where.items()]
    text = statement(connection.keyspace, table, index, names, function, where)
    page = _nearest(connection, text, vector, dialect.results_asked(index, k), function, index, only)
    if not page.rows:
        return []
    page = replace(page, rows=min(page.rows, k))  # the nearest come first
    starts, lengths = wire.cells(page)

    def cell(at: int, cql_type: str) -> pa.Array:
        return wire.column(page, starts[:, at], lengths[:, at], cql_type)

    types = [_type(table, name) for name in names]
    columns = [cell(at, cql_type).cast(arrow_type(cql_type)).to_pylist() for at, cql_type in enumerate(types)]
    if function is not None:
        scores = from_similarity(index.options.metric, cell(len(names), "float").to_numpy(zero_copy_only=False))
    else:
        found = cell(len(names), _type(table, index.column))
        matrix = found.flatten().to_numpy(zero_copy_only=False).reshape(page.rows, index.dimension)
        scores = similarities(index.options.metric, vector, matrix)
    rows = zip(scores.tolist(), zip(*columns, strict=True), strict=True)
    return [Hit(score, dict(zip(names, row, strict=True))) for score, row in rows]


def statement(
    keyspace: str,
    table: Table,
    index: Index,
    names: Sequence[str],
    function: str | None,
    where: Iterable[str] = (),
) -> str:
    """The SELECT of a search.

    Its values are the vector (for the score, if there is a function), those of the conditions, the vector, and how many
    results.
    """
    column = quote(index.column)
    score = f"{function}({column}, ?)" if function is not None else column
    asked = ", ".join([*(quote(name) for name in names), score])
    only = " AND ".join(f"{quote(name)} = ?" for name in where)
    condition = f" WHERE {only}" if only else ""
    return f"SELECT {asked} FROM {qualified(keyspace, table.name)}{condition} ORDER BY {column} ANN OF ? LIMIT ?"


def _nearest(
    connection: CqlConnection,
    text: str,
    vector: NDArray[np.float32],
    results: int,
    function: str | None,
    index: Index,
    only: Sequence[bytes | None],
) -> wire.Page:
    packed = vector.astype(">f4").tobytes()
    score = [packed] if function is not None else []

    def run() -> wire.Page:
        ready = bound(connection.prepare(text), [*score, *only, packed, results.to_bytes(4, "big")])
        ready.fetch_size = 0  # one page: a search cannot be continued
        found: wire.Page = connection.session.execute(ready, execution_profile=SCAN).current_rows[0]
        return found

    try:
        return retrying(connection.settings.request_timeout)(run)
    except SchemaError as error:
        raise _unindexed(error, index) from error
    except driver_errors.RAISED as error:
        raise _unindexed(connection.failed(error, f"searching {index.table}"), index) from error


def _unindexed(error: Exception, index: Index) -> Exception:
    words = str(error)
    if "requires the column to be indexed" in words or "no vector index" in words.lower() or "isn't indexed" in words:
        return SchemaError(
            f"{index.table} has no vector index on {index.column}",
            hint="build it: embedshift index for a migration's target, reindex --in-place for the live table",
        )
    return error


def _type(table: Table, name: str) -> str:
    column = table.column(name)
    if column is None:
        raise SchemaError(f"{table.name} has no column {name}")
    return column.type
