"""Adding many articles: in batches, in order, and each failure by its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.articles.following import Following
from jobs.articles.keys import key_of, name_of
from jobs.articles.writing import Writing
from jobs.errors import InputError
from jobs.stores.contract import Table


@dataclass(frozen=True, slots=True)
class Failure:
    """One article of ``add_many`` that was not written: its position from 0, its id, and why."""

    position: int
    id: Any
    reason: str


@dataclass(slots=True)
class Added:
    """What ``add_many`` did: how many articles were written, and those that were not, in order."""

    written: int = 0
    failures: list[Failure] = field(default_factory=list)


def add_many(following: Following, writing: Writing, articles: Iterable[Mapping[str, Any]], most: int) -> Added:
    """Write articles, at most so many at once; see ``Articles.add_many``."""
    added = Added()
    start = 0
    for batch in _batches(following, articles, most):
        outcomes = writing.put(batch, existing=False)
        for at, outcome in enumerate(outcomes):
            if outcome is None:
                added.written += 1
            else:
                id_ = _id_of(following.now().live.table, batch[at])
                added.failures.append(Failure(start + at, id_, str(outcome)))
        start += len(batch)
    return added


def _batches(
    following: Following, articles: Iterable[Mapping[str, Any]], most: int
) -> Iterator[list[Mapping[str, Any]]]:
    """Batches in which no id comes twice: within one, all are read before any is written."""
    batch: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    for article in articles:
        name = _name(following.now().live.table, article)
        if len(batch) >= most or (name and name in seen):
            yield batch
            batch, seen = [], set()
        batch.append(article)
        seen.add(name)
    if batch:
        yield batch


def _name(table: Table, article: Any) -> str:
    """The name of an article's row; empty where it has none that could be written."""
    try:
        return name_of(table, key_of(table, {key.name: article.get(key.name) for key in table.keys}))
    except (InputError, AttributeError):
        return ""


def _id_of(table: Table, article: Any) -> Any:
    """The id of an article as the caller gave it, whatever it is."""
    if not isinstance(article, Mapping):
        return None
    parts = {key.name: article.get(key.name) for key in table.keys}
    return parts if len(parts) > 1 else next(iter(parts.values()))
