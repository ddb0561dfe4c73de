"""Search through the alias: the alias row names the table and, in the same row, the model that embeds the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.catalog.alias import Alias
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.models import proven_model
from jobs.errors import InputError, SchemaError
from jobs.stores.contract import Store
from jobs.stores.values import to_json


@dataclass(frozen=True, slots=True)
class Found:
    """One article found. ``score`` is a similarity: greater is nearer."""

    id: Any
    title: str
    score: float


def search(store: Store, alias: Alias, question: str, k: int) -> list[Found]:
    """The k articles nearest to a question.

    Raises:
        InputError: the question is empty, or k is not in 1..1000.
        SchemaError: the alias points to a table that is gone.
    """
    return search_endpoint(store, alias.target, question, k)


def search_endpoint(store: Store, endpoint: Endpoint, question: str, k: int) -> list[Found]:
    """The same in the table of one endpoint, whether or not an alias points to it."""
    if not 1 <= k <= 1000:
        raise InputError(f"k is {k}", hint="ask for 1 to 1000 results")
    if not store.exists(endpoint.table):
        raise SchemaError(f"the table {endpoint.table} does not exist", hint="look at embedshift status")
    vector = proven_model(endpoint).embed_question(question)
    table = store.describe(endpoint.table)
    title = next((column.name for column in table.others if column.name == "title"), None)
    values = [] if title is None else [title]
    key = table.column(endpoint.id)
    kind = key.type if key else "text"
    hits = store.search(table, endpoint.index, vector, k, values=values)
    return [Found(to_json(kind, hit.values[endpoint.id]), hit.values.get("title") or "", hit.score) for hit in hits]
