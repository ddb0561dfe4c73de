"""Add many articles: in batches, in their order; every failure is reported with its article."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedshift.articles.keys import Clock, Key, RowLocks, key_of, keys_batch, name_of, plain_id
from embedshift.articles.routing import AliasCache, Routing
from embedshift.articles.rows import texts_of
from embedshift.articles.write import Writing
from embedshift.embedding import DIGEST, is_of_text
from embedshift.errors import InputError
from embedshift.stores.contract import Store
from embedshift.stores.model import Table, write_time


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


def add_many(alias_cache: AliasCache, writing: Writing, articles: Iterable[Mapping[str, Any]], most: int) -> Added:
    """Write articles in batches of at most ``most``; see ``Articles.add_many``."""
    added = Added()
    start = 0
    for batch in _batches(alias_cache, articles, most):
        outcomes = writing.put(batch, existing=False)
        for at, outcome in enumerate(outcomes):
            if outcome is None:
                added.written += 1
            else:
                id_ = _id_of(alias_cache.now().live.table, batch[at])
                added.failures.append(Failure(start + at, id_, str(outcome)))
        start += len(batch)
    return added


def _batches(
    alias_cache: AliasCache, articles: Iterable[Mapping[str, Any]], most: int
) -> Iterator[list[Mapping[str, Any]]]:
    """Batches in which no id occurs twice, because all rows of a batch are read before any is written."""
    batch: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    for article in articles:
        name = _name(alias_cache.now().live.table, article)
        if len(batch) >= most or (name and name in seen):
            yield batch
            batch, seen = [], set()
        batch.append(article)
        seen.add(name)
    if batch:
        yield batch


def _name(table: Table, article: Any) -> str:
    """The name of an article's row; empty if it has no key that could be written."""
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


@dataclass(slots=True)
class Refreshed:
    """The outcome of a refresh. ``failed`` holds the ids whose text cannot be embedded."""

    embedded: int = 0
    unchanged: int = 0
    absent: int = 0
    failed: list[Any] = field(default_factory=list)

    def __iadd__(self, other: Refreshed) -> Refreshed:
        self.embedded += other.embedded
        self.unchanged += other.unchanged
        self.absent += other.absent
        self.failed += other.failed
        return self


class Refreshing:
    """Embeds the articles of the live table that have no vector of their current text."""

    def __init__(self, store: Store, alias_cache: AliasCache, writing: Writing, clock: Clock, locks: RowLocks) -> None:
        self._store = store
        self._alias_cache = alias_cache
        self._writing = writing
        self._clock = clock
        self._locks = locks

    def refresh(self, keys: Sequence[Key]) -> Refreshed:
        """Check the rows of these keys, each once, and embed those that need it. Safe to repeat."""
        return self._alias_cache.writing(lambda routing: self._refresh(routing, keys))

    def _refresh(self, routing: Routing, keys: Sequence[Key]) -> Refreshed:
        named = {name_of(routing.live.table, key): key for key in keys}
        with self._locks.held(named):
            # Taken before the rows are read: a row that is deleted after that stays deleted.
            at_us = self._clock.next()
            rows = self._rows(routing, list(named.values()))
            wanting = self._wanting(routing, rows)
            done = self._writing.embed_present(routing, wanting, at_us)
        table = routing.live.table
        failed = [plain_id(table, row) for row in wanting if name_of(table, row) not in done]
        return Refreshed(len(done), len(rows) - len(wanting), len(named) - len(rows), failed)

    def _rows(self, routing: Routing, keys: Sequence[Key]) -> list[dict[str, Any]]:
        if not keys:
            return []
        live = routing.live
        values = [*self._writing.text_columns(routing), *([DIGEST] if live.vector_table.digests else [])]
        batch = keys_batch(live.table, keys)
        return list(self._store.fetch(live.table, batch, values=values, times=[live.vector_table.vector]).to_pylist())

    @staticmethod
    def _wanting(routing: Routing, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows with a text but no vector, a vector but no text, or another text's digest; every row without digests."""
        vector_table = routing.live.vector_table
        if not vector_table.digests:
            return rows
        texts = texts_of(vector_table, routing.live.table, rows)
        return [
            row
            for row, digest, empty in zip(rows, texts.digests, texts.empty, strict=True)
            if not is_of_text(row[DIGEST], digest) or empty == (row[write_time(vector_table.vector)] is not None)
        ]
