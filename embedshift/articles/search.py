"""Search through the alias for active articles.

An index knows nothing of inactive articles, and its answers may be older than the table: on Cassandra a
nearest-neighbour read asks one replica. So each hit is read again by its key, at the store's read consistency, and
those that are gone or inactive are left out. If fewer than k remain, the index is asked for twice as many, until there
are k, or the index has no more, or its limit of 1000 is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.articles.delete import DEACTIVATED, has_soft_delete, is_active
from embedshift.articles.keys import key_of, keys_batch, name_of, plain_id, typed
from embedshift.articles.routing import AliasCache, LiveTable, Routing
from embedshift.articles.rows import embed_question, made_columns, own_columns
from embedshift.catalog.alias import Alias
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import InputError, NotFoundError, SchemaError
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type, to_json
from embedshift.stores.model import Hit
from embedshift.stores.opaque_values import alike

#: Columns, and the values that articles must have there, as in JSON.
Condition = Mapping[str, Any]
#: The maximum number of results of one search, on every store.
K_MAX = 1000


@dataclass(frozen=True, slots=True)
class Match:
    """One article found.

    ``score`` is a similarity: a greater score is nearer. ``id`` has the callers' form; ``values`` has the requested
    columns as JSON values.
    """

    id: Any
    score: float
    values: Mapping[str, Any]


class Finding:
    """Searches the live table."""

    def __init__(self, store: Store, alias_cache: AliasCache) -> None:
        self._store = store
        self._alias_cache = alias_cache

    def search(self, question: str, k: int, columns: Sequence[str] | None, where: Condition | None) -> list[Match]:
        """The k active articles nearest to a question."""
        check_k(k)
        if not isinstance(question, str) or not question.strip():
            raise InputError("the question is empty", hint="ask with at least one word")

        def found(routing: Routing) -> list[Match]:
            vector = embed_question(self._store, routing.live.vector_table, question)
            return nearest(self._store, routing.live, vector, k, columns, where)

        return self._alias_cache.reading(found)

    def search_vector(
        self,
        vector: Iterable[float] | NDArray[np.float32],
        k: int,
        columns: Sequence[str] | None,
        where: Condition | None,
    ) -> list[Match]:
        """The k active articles nearest to a vector."""
        check_k(k)
        return self._alias_cache.reading(
            lambda routing: nearest(self._store, routing.live, _query(routing, vector), k, columns, where)
        )

    def search_like(self, id: Any, k: int, columns: Sequence[str] | None, where: Condition | None) -> list[Match]:
        """The k active articles nearest to an article, without that article."""
        check_k(k)

        def operation(routing: Routing) -> list[Match]:
            table, vector = routing.live.table, routing.live.vector_table.vector
            key = key_of(table, id)
            rows = self._store.fetch(table, keys_batch(table, [key]), values=[vector])
            if rows.num_rows == 0:
                raise NotFoundError(f"there is no article {name_of(table, key)} in {table.name}")
            value = rows.column(vector)[0]
            if not value.is_valid:
                raise InputError(f"article {name_of(table, key)} has no text, and so no vector", hint="give it a text")
            query = np.asarray(value.values.to_numpy(zero_copy_only=False), np.float32)
            own = {name: to_json(_type(routing.live, name), key[name]) for name in routing.live.vector_table.partition}
            only = {**own, **(where or {})}
            return nearest(self._store, routing.live, query, k, columns, only, without=name_of(table, key))

        return self._alias_cache.reading(operation)

    def get(self, id: Any) -> dict[str, Any] | None:
        """One article, active or not: every column but vector and digest, as JSON values; None if there is none."""

        def operation(routing: Routing) -> dict[str, Any] | None:
            table = routing.live.table
            key = key_of(table, id)
            names = [column.name for column in own_columns(routing.live.vector_table, table)]
            rows = self._store.fetch(table, keys_batch(table, [key]), values=names).to_pylist()
            return plain_row(routing, rows[0]) if rows else None

        return self._alias_cache.reading(operation)


def nearest(
    store: Store,
    live_table: LiveTable,
    query: NDArray[np.float32],
    k: int,
    columns: Sequence[str] | None,
    where: Condition | None = None,
    *,
    without: str | None = None,
) -> list[Match]:
    """The k active articles of one table nearest to a vector of shape (dimension,), without the row of one name."""
    table = live_table.table
    names, only = _asked(live_table, columns), condition(live_table, where)
    keys = {key.name for key in table.keys}
    read = [name for name in names if name not in keys]
    read += [DEACTIVATED] if has_soft_delete(table) and DEACTIVATED not in read else []
    read += [name for name in only if name not in keys and name not in read]
    known: dict[str, Mapping[str, Any] | None] = {}
    asked, before = min(K_MAX, k if without is None else k + 1), 0
    while True:
        hits = store.search(table, live_table.vector_table.index, query, asked, where=only)
        _read_again(store, live_table, hits, known, read, only)
        matches = []
        for hit in hits:
            name = name_of(table, dict(hit.values))
            row = known[name]
            if row is not None and name != without:
                values = {each: to_json(_type(live_table, each), row[each]) for each in names}
                matches.append(Match(plain_id(table, dict(row)), hit.score, values))
        # An index may leave out recently deleted rows, so it has no more only if asking for more returns no more.
        exhausted = len(hits) < asked and len(hits) <= before
        if len(matches) >= k or exhausted or asked == K_MAX:
            return matches[:k]
        asked, before = min(K_MAX, asked * 2), len(hits)


def _read_again(
    store: Store,
    live_table: LiveTable,
    hits: Sequence[Hit],
    known: dict[str, Mapping[str, Any] | None],
    read: Sequence[str],
    only: Condition,
) -> None:
    """Store for each new hit its row as it is now; None if it is gone or inactive, or does not meet the condition."""
    table = live_table.table
    new = {name: dict(hit.values) for hit in hits if (name := name_of(table, dict(hit.values))) not in known}
    if not new:
        return
    rows = store.fetch(table, keys_batch(table, list(new.values())), values=read).to_pylist()
    kinds = {name: _type(live_table, name) for name in only}
    meet = [
        row
        for row in rows
        if is_active(row) and all(alike(kinds[name], row[name], value) for name, value in only.items())
    ]
    there = {name_of(table, row): row for row in meet}
    known |= {name: there.get(name) for name in new}


def check_k(k: int) -> None:
    """Raises InputError if k is not a number of results that every store can return."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= K_MAX:
        raise InputError(f"k is {k}", hint=f"ask for 1 to {K_MAX} results")


def plain_row(routing: Routing, row: Mapping[str, Any]) -> dict[str, Any]:
    """Key and own columns of a row as JSON values, in the table's order."""
    made = made_columns(routing.live.vector_table)
    table = routing.live.table
    return {c.name: to_json(c.type, row.get(c.name)) for c in table.columns if c.name not in made}


def _asked(live_table: LiveTable, columns: Sequence[str] | None) -> list[str]:
    table, made = live_table.table, made_columns(live_table.vector_table)
    known = [column.name for column in table.columns if column.name not in made]
    if columns is None:
        return known
    if isinstance(columns, str):
        raise InputError("columns is a text", hint="give a list of column names")
    for name in columns:
        if name not in known:
            raise SchemaError(f"{table.name} has no column {name} to show", hint=f"it has {', '.join(known)}")
    return list(columns)


def condition(live_table: LiveTable, where: Condition | None) -> dict[str, Any]:
    """What rows must have, as the store takes it.

    Raises:
        InputError: a value is not one of its column, or a local index is searched without its partition.
        SchemaError: there is no such column.
    """
    table, made = live_table.table, made_columns(live_table.vector_table)
    found: dict[str, Any] = {}
    if where is not None and not isinstance(where, Mapping):
        raise InputError("where is no mapping", hint='give columns and values, such as {"category": "salt"}')
    for name, value in (where or {}).items():
        column = table.column(name)
        if column is None or name in made:
            raise SchemaError(f"{table.name} has no column {name} to search by", hint="see its description")
        if value is None:
            raise InputError(f"the condition on {name} has no value", hint="leave it out")
        # As the column has it: a float of 32 bits is not the one that was given.
        found[name] = pa.scalar(typed(column, value), arrow_type(column.type)).as_py()
    if missing := [name for name in live_table.vector_table.partition if name not in found]:
        raise InputError(
            f"the index of {table.name} is searched within one partition, and {missing[0]} is not given",
            hint=f"search with where: {', '.join(live_table.vector_table.partition)}",
        )
    return found


def _type(live_table: LiveTable, name: str) -> str:
    column = live_table.table.column(name)
    return column.type if column else "text"


def _query(routing: Routing, vector: Iterable[float] | NDArray[np.float32]) -> NDArray[np.float32]:
    dimension = routing.live.vector_table.model.dimension
    try:
        query = np.asarray(vector if isinstance(vector, np.ndarray) else list(vector), np.float32)
    except (TypeError, ValueError) as error:
        raise InputError("the vector is not a row of numbers", hint=f"give {dimension} numbers") from error
    if query.shape != (dimension,):
        raise InputError(
            f"the vector has the shape {query.shape}, the model of the alias makes {dimension} numbers",
            hint="embed it with that model",
        )
    if not np.isfinite(query).all():
        raise InputError("the vector holds numbers that are not finite", hint="check how it was made")
    if not query.any():
        raise InputError("the vector is zero and has no direction", hint="check how it was made")
    return query


@dataclass(frozen=True, slots=True)
class Found:
    """One article found. ``score`` is a similarity: a greater score is nearer."""

    id: Any
    title: str
    score: float


def search(store: Store, alias: Alias, question: str, k: int, where: Condition | None = None) -> list[Found]:
    """The k active articles nearest to a question, among those that meet a condition.

    Raises:
        InputError: the question is empty, or k is not in 1..1000.
        SchemaError: the alias points to a table that does not exist.
    """
    return search_vector_table(store, alias.target, question, k, where)


def search_vector_table(
    store: Store, vector_table: VectorTable, question: str, k: int, where: Condition | None = None
) -> list[Found]:
    """The same in one vector table, whether or not an alias points to it."""
    check_k(k)
    if not store.exists(vector_table.table):
        raise SchemaError(f"the table {vector_table.table} does not exist", hint="look at embedshift status")
    live_table = LiveTable.of(store, vector_table)
    vector = embed_question(store, vector_table, question)
    title = [column.name for column in live_table.table.columns if column.name == "title"]
    names = list(dict.fromkeys([vector_table.id, *title]))
    matches = nearest(store, live_table, vector, k, names, where)
    return [Found(each.values[vector_table.id], each.values.get("title") or "", each.score) for each in matches]
