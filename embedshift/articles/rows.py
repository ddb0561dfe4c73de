"""Rows of a client's write as ``Store.write`` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.articles.keys import Key
from embedshift.catalog.vector_table import VectorTable, proven_model
from embedshift.embedding import DIGEST, Embedded, Template, digest_texts, hash_vectors, whole_digests
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type
from embedshift.stores.model import Column, Table, write_time

# A model is loaded once per process, so its lock belongs to the process too.
_locks: dict[str, Lock] = {}
_making = Lock()


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of n articles: ``texts`` has n strings, ``empty`` n booleans, ``digests`` n times 16 bytes."""

    texts: list[str]
    empty: list[bool]
    digests: list[bytes]


def texts_of(vector_table: VectorTable, table: Table, rows: Sequence[Mapping[str, Any]]) -> Texts:
    """Render the vector table's template over rows that hold its columns; a missing column counts as null."""
    if not rows:
        return Texts([], [], [])
    template = Template.parse(vector_table.text)
    types = {column.name: arrow_type(column.type) for column in table.columns}
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array([row.get(name) for row in rows], types[name]) for name in template.columns}
    )
    texts, empty = template.render(batch), template.empty(batch)
    digests = digest_texts(vector_table.model.fingerprint, texts, empty)
    return Texts(texts.to_pylist(), empty.to_pylist(), digests.to_pylist())


def _lock_of(vector_table: VectorTable) -> Lock:
    with _making:
        return _locks.setdefault(vector_table.model.fingerprint, Lock())


def embed(store: Store, vector_table: VectorTable, texts: Sequence[str]) -> Embedded:
    """Embed documents with the vector table's model. Raises ModelUnavailable if it cannot be loaded."""
    with _lock_of(vector_table):
        model = proven_model(store, vector_table)
        if vector_table.model.service is None:
            return model.embed(texts)
    return model.embed(texts)


def make_ready(store: Store, vector_table: VectorTable) -> None:
    """Load the vector table's model, if this process has not loaded it yet."""
    with _lock_of(vector_table):
        proven_model(store, vector_table)


def embed_question(store: Store, vector_table: VectorTable, question: str) -> NDArray[np.float32]:
    """Embed one question, shape (dimension,).

    Raises:
        InputError: it is empty, or cannot be embedded.
        ModelUnavailable: the model cannot be loaded.
    """
    with _lock_of(vector_table):
        model = proven_model(store, vector_table)
        if vector_table.model.service is None:
            return model.embed_question(question)
    # A service answers several at once, each thread its own.
    return model.embed_question(question)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one row, all with one write time. None deletes a cell; columns that are not named do not change."""

    key: Key
    values: Mapping[str, Any]
    at_us: int


def made_columns(vector_table: VectorTable) -> tuple[str, ...]:
    """The columns that only embedshift writes: the vector and its digest."""
    return (vector_table.vector, DIGEST)


def own_columns(vector_table: VectorTable, table: Table) -> tuple[Column, ...]:
    """The non-key columns that callers read and write."""
    made = made_columns(vector_table)
    return tuple(column for column in table.others if column.name not in made)


def made_values(vector_table: VectorTable, texts: Texts, row: int, vector: Any) -> dict[str, Any]:
    """Vector and digest of one text. A row without text gets a digest that says so, and its vector is deleted."""
    if texts.empty[row]:
        vector = None
    made: dict[str, Any] = {vector_table.vector: vector}
    if vector_table.digests:
        made[DIGEST] = texts.digests[row]
        if vector is not None:
            made[DIGEST] = whole_digests(pa.array([texts.digests[row]]), hash_vectors(np.asarray([vector])))[0].as_py()
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
