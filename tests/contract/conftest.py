"""The stores under test, and store-neutral ways to fill a table and to read it back.

A row is a dict: plain values for the primary key, and for every other column ``(value, write time)`` or
``(value, write time, ttl)``; ``(None, write time)`` deletes the cell, a column left out stays unset.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type, vector_type
from embedshift.stores.model import Column, Index, Rejection, Table, remaining_ttl, write_time
from embedshift.tokens import WHOLE_RING, TokenRange

#: Each store has a fixture ``<name>_settings`` that yields StoreSettings, here or in tests/clusters.py.
STORES = ("embedded", "cassandra", pytest.param("scylla", marks=pytest.mark.scylla))

Row = dict[str, Any]
DEADLINE_S = 60


@pytest.fixture
def embedded_settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(path=tmp_path / "store" / "articles.sqlite")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each store in turn, open."""
    settings = request.getfixturevalue(f"{request.param}_settings")
    with closing(open_store(settings)) as opened:
        yield opened


@pytest.fixture
def new_name() -> Callable[[], str]:
    """Makes names that no other test has, since tests share a cluster's keyspace."""
    return lambda: f"t{uuid.uuid4().hex[:16]}"


@dataclass
class Shelf:
    """A table of a store, filled and read as dicts."""

    store: Store
    table: Table

    def batch(self, rows: Sequence[Row]) -> pa.RecordBatch:
        """Rows as ``Store.write`` takes them."""
        fields: dict[str, pa.Array] = {}
        for column in self.table.columns:
            if column in self.table.keys:
                fields[column.name] = pa.array([row[column.name] for row in rows], arrow_type(column.type))
            elif any(column.name in row for row in rows):
                cells = [(*row.get(column.name, (None, None)), None)[:3] for row in rows]
                fields[column.name] = pa.array([value for value, _, _ in cells], arrow_type(column.type))
                fields[write_time(column.name)] = pa.array([time for _, time, _ in cells], pa.int64())
                if any(ttl for _, _, ttl in cells):
                    fields[remaining_ttl(column.name)] = pa.array([ttl for _, _, ttl in cells], pa.int32())
        return pa.RecordBatch.from_pydict(fields)

    def keys(self, rows: Sequence[Row]) -> pa.RecordBatch:
        """The primary keys of rows alone."""
        return self.batch([{c.name: row[c.name] for c in self.table.keys} for row in rows])

    def write(self, *rows: Row) -> list[Rejection]:
        return self.store.write(self.table, self.batch(rows))

    def delete(self, write_time_us: int, *keys: Row) -> None:
        self.store.delete(self.table, self.keys(keys), np.full(len(keys), write_time_us, np.int64))

    def scan(self, within: TokenRange = WHOLE_RING, **options: Any) -> list[Row]:
        """The rows of a range as dicts, in the scan's order."""
        return [row for batch in self.store.scan(self.table, within, **options) for row in batch.to_pylist()]

    def row(self, **key: Any) -> Row | None:
        """Values, write times and TTLs of one row without its token; None if it does not exist."""
        names = [c.name for c in self.table.others]
        rows = self.store.fetch(self.table, self.keys([key]), values=names, times=names).to_pylist()
        assert len(rows) <= 1
        return {name: value for name, value in rows[0].items() if name != "token()"} if rows else None

    def title(self, **key: Any) -> str | None:
        """The value of ``title``, None if the cell or the row does not exist."""
        row = self.row(**key)
        return None if row is None else row["title"]


@pytest.fixture
def new_shelf(
    store: Store, new_name: Callable[[], str], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Shelf]]:
    """Makes tables of given columns; they are dropped after the test, but not on a node that is used once."""
    made: list[str] = []

    def make(*columns: Column) -> Shelf:
        name = new_name()
        store.create(Table(name, columns))
        made.append(name)
        return Shelf(store, store.describe(name))

    yield make
    callspec = getattr(request.node, "callspec", None)
    if callspec is None or callspec.params.get("store") != "cassandra":
        for name in made:
            store.drop(name)


ARTICLE = (
    Column("id", "text", "partition"),
    Column("title", "text"),
    Column("views", "int"),
    Column("embedding", vector_type(4)),
)


@pytest.fixture
def shelf(new_shelf: Callable[..., Shelf]) -> Shelf:
    """A table of articles: id, title, views and an embedding of four dimensions."""
    return new_shelf(*ARTICLE)


@pytest.fixture
def new_index(store: Store, new_name: Callable[[], str], eventually: Callable[..., Any]) -> Callable[..., Index]:
    """Builds an index of a shelf's embeddings and waits until it serves."""

    def make(shelf: Shelf, dimension: int = 4, **options: Any) -> Index:
        index = Index(f"{new_name()}_idx", shelf.table.name, "embedding", dimension, IndexSettings(**options))
        store.create_index(index)
        eventually(lambda: store.index_state(index).status == "serving")
        return index

    return make
