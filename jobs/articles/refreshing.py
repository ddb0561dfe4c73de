"""Refreshing: a new vector for articles whose text somebody else has written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.articles.clock import Clock
from jobs.articles.following import Following, View
from jobs.articles.keys import Key, RowLocks, keys_batch, name_of, plain_id
from jobs.articles.vectors import texts_of
from jobs.articles.writing import Writing
from jobs.embedding import DIGEST
from jobs.stores.contract import Store, write_time


@dataclass(slots=True)
class Refreshed:
    """What became of the articles that were looked at. ``failed`` holds ids whose text cannot be embedded."""

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
    """Embeds what is in the live table and has no vector of its present text."""

    def __init__(self, store: Store, following: Following, writing: Writing, clock: Clock, locks: RowLocks) -> None:
        self._store = store
        self._following = following
        self._writing = writing
        self._clock = clock
        self._locks = locks

    def refresh(self, keys: Sequence[Key]) -> Refreshed:
        """Look at the rows of these keys, each once, and embed those that need it. Safe to repeat."""
        return self._following.writing(lambda view: self._refresh(view, keys))

    def _refresh(self, view: View, keys: Sequence[Key]) -> Refreshed:
        named = {name_of(view.live.table, key): key for key in keys}
        with self._locks.held(named):
            # Before the look: a row that is deleted after it stays deleted.
            at_us = self._clock.next()
            rows = self._rows(view, list(named.values()))
            wanting = self._wanting(view, rows)
            done = self._writing.embed_present(view, wanting, at_us)
        table = view.live.table
        failed = [plain_id(table, row) for row in wanting if name_of(table, row) not in done]
        return Refreshed(len(done), len(rows) - len(wanting), len(named) - len(rows), failed)

    def _rows(self, view: View, keys: Sequence[Key]) -> list[dict[str, Any]]:
        if not keys:
            return []
        live = view.live
        values = [*self._writing.text_columns(view), *([DIGEST] if live.endpoint.digests else [])]
        batch = keys_batch(live.table, keys)
        return list(self._store.fetch(live.table, batch, values=values, times=[live.endpoint.vector]).to_pylist())

    @staticmethod
    def _wanting(view: View, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows with a text and no vector, a vector and no text, or a digest of another text; all without digests."""
        endpoint = view.live.endpoint
        if not endpoint.digests:
            return rows
        texts = texts_of(endpoint, view.live.table, rows)
        return [
            row
            for row, digest, empty in zip(rows, texts.digests, texts.empty, strict=True)
            if row[DIGEST] != digest or empty == (row[write_time(endpoint.vector)] is not None)
        ]
