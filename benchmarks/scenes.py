"""Tables with rows, on either store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.node import node
from embedshift.embedding import DIGEST, Template, digest_texts, hash_vectors, whole_digests
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Table, remaining_ttl, write_time
from tests.cluster.worlds import cluster_world
from tests.small_models import save_model
from tests.world import ARTICLE, World, now_us

StoreName = Literal["embedded", "Cassandra"]
DIMENSION = 384
_AT_ONCE, _WRITTEN_US = 1000, 1_700_000_000_000_000


@contextmanager
def scene(
    store: StoreName, new_model: str | None = None, *, only_index: bool = False, **changes: Any
) -> Iterator[World]:
    """A world with an empty table ``articles``; both models are tables of word vectors unless one is named.

    Args:
        store: which kind.
        new_model: the target's model.
        only_index: whether the target keeps the source's model.
        changes: further settings, by section.

    Raises:
        LeftOut: the store is not available.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        old = save_model(folder / "old", DIMENSION, 1, poisoned=False)
        new = None if only_index else new_model or save_model(folder / "new", DIMENSION, 2, poisoned=False)
        models = (old, new)
        if store == "embedded":
            world = World(folder, models, **changes)
            stack.callback(world.close)
        else:
            world = stack.enter_context(cluster_world(folder / "world", models, stack.enter_context(node()), **changes))
        # Without an index, because only the table is measured.
        made = (Column("embedding", vector_type(DIMENSION)), Column(DIGEST, "blob"))
        world.store.create(Table("articles", (*ARTICLE, *made)))
        yield world


def fill(world: World, articles: list[dict[str, str]], *, vectors: bool = True) -> Table:
    """Write articles into the source, with random vectors and digests if wanted. Returns its table."""
    table = world.store.describe("articles")
    for at in range(0, len(articles), _AT_ONCE):
        rejected = world.store.write(table, cells(articles[at : at + _AT_ONCE], at if vectors else None))
        if rejected:
            raise RuntimeError(rejected[0].reason)
    return table


def cells(articles: list[dict[str, str]], seed: int | None) -> pa.RecordBatch:
    """Articles in a store's form; with random vectors and digests if there is a seed."""
    count, moment = len(articles), now_us()
    columns: dict[str, pa.Array] = {"id": pa.array([each["id"] for each in articles])}
    values = {name: pa.array([each[name] for each in articles]) for name in ("title", "content")}
    if seed is not None:
        floats = pa.array(np.random.default_rng(seed).standard_normal(count * DIMENSION, np.float32))
        values["embedding"] = pa.FixedSizeListArray.from_arrays(floats, DIMENSION)
        values[DIGEST] = pa.array([number.to_bytes(16, "big") for number in range(count)])
    for name, value in values.items():
        columns |= {name: value, write_time(name): pa.array(np.full(count, moment))}
        columns[remaining_ttl(name)] = pa.nulls(count, pa.int32())
    return pa.RecordBatch.from_pydict(columns)


def with_vectors(articles: dict[str, list[str]], fingerprint: str, vectors: NDArray[np.float32]) -> pa.RecordBatch:
    """Articles with these vectors (shape (n, dimension)) in a store's form, written long ago by a model."""
    rows = pa.RecordBatch.from_pydict(articles)
    template = Template.parse("{title}. {content}")
    values = {name: rows.column(name) for name in ("title", "content")}
    values["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    digests = digest_texts(fingerprint, template.render(rows), template.empty(rows))
    values[DIGEST] = whole_digests(digests, hash_vectors(vectors))
    times = {write_time(name): pa.array(np.full(rows.num_rows, _WRITTEN_US)) for name in values}
    return pa.RecordBatch.from_pydict({"id": rows.column("id"), **values, **times})
