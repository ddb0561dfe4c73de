"""Texts and questions through the model of an endpoint, one caller at a time: tokenisers are not re-entrant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.catalog.endpoint import Endpoint
from jobs.catalog.models import proven_model
from jobs.embedding import Embedded, Template, digest_texts
from jobs.stores.contract import Table
from jobs.stores.values import arrow_type

# A model is loaded once a process, whoever asks: so its lock is the process's too.
_locks: dict[str, Lock] = {}
_making = Lock()


@dataclass(frozen=True, slots=True)
class Texts:
    """What is embedded of n articles: ``texts`` n strings, ``empty`` n booleans, ``digests`` of 16 bytes each."""

    texts: list[str]
    empty: list[bool]
    digests: list[bytes]


def texts_of(endpoint: Endpoint, table: Table, rows: Sequence[Mapping[str, Any]]) -> Texts:
    """Render the endpoint's template over rows that hold its columns; a missing one counts as null."""
    if not rows:
        return Texts([], [], [])
    template = Template.parse(endpoint.text)
    types = {column.name: arrow_type(column.type) for column in table.columns}
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array([row.get(name) for row in rows], types[name]) for name in template.columns}
    )
    texts, empty = template.render(batch), template.empty(batch)
    digests = digest_texts(endpoint.model.fingerprint, texts, empty)
    return Texts(texts.to_pylist(), empty.to_pylist(), digests.to_pylist())


def _lock_of(endpoint: Endpoint) -> Lock:
    with _making:
        return _locks.setdefault(endpoint.model.fingerprint, Lock())


def embed(endpoint: Endpoint, texts: Sequence[str]) -> Embedded:
    """Embed documents with the endpoint's model. Raises ModelUnavailable where it is not to be had."""
    with _lock_of(endpoint):
        return proven_model(endpoint).embed(texts)


def make_ready(endpoint: Endpoint) -> None:
    """Load the endpoint's model, where this process has not loaded it yet."""
    with _lock_of(endpoint):
        proven_model(endpoint)


def embed_question(endpoint: Endpoint, question: str) -> NDArray[np.float32]:
    """Embed one question, shape (dimension,).

    Raises:
        InputError: it is empty, or cannot be embedded.
        ModelUnavailable: the model is not to be had.
    """
    with _lock_of(endpoint):
        return proven_model(endpoint).embed_question(question)
