"""Search through the alias: the alias row names the table and, in the same row, the model that embeds the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.articles.finding import check_k, nearest
from jobs.articles.following import Place
from jobs.articles.vectors import embed_question
from jobs.catalog.alias import Alias
from jobs.catalog.endpoint import Endpoint
from jobs.errors import SchemaError
from jobs.stores.contract import Store


@dataclass(frozen=True, slots=True)
class Found:
    """One article found. ``score`` is a similarity: greater is nearer."""

    id: Any
    title: str
    score: float


def search(store: Store, alias: Alias, question: str, k: int) -> list[Found]:
    """The k active articles nearest to a question.

    Raises:
        InputError: the question is empty, or k is not in 1..1000.
        SchemaError: the alias points to a table that is gone.
    """
    return search_endpoint(store, alias.target, question, k)


def search_endpoint(store: Store, endpoint: Endpoint, question: str, k: int) -> list[Found]:
    """The same in the table of one endpoint, whether or not an alias points to it."""
    check_k(k)
    if not store.exists(endpoint.table):
        raise SchemaError(f"the table {endpoint.table} does not exist", hint="look at embedshift status")
    place = Place(endpoint, store.describe(endpoint.table))
    vector = embed_question(endpoint, question)
    title = [column.name for column in place.table.columns if column.name == "title"]
    names = list(dict.fromkeys([endpoint.id, *title]))
    matches = nearest(store, place, vector, k, names)
    return [Found(each.values[endpoint.id], each.values.get("title") or "", each.score) for each in matches]
