"""Add and update: embed what changed, write the live table, then the other tables, then check the text again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedshift.articles.dual_write import DualWriter
from embedshift.articles.keys import Clock, Key, RowLocks, key_of, keys_batch, name_of, typed
from embedshift.articles.routing import AliasCache, Routing
from embedshift.articles.rows import Cells, cells_batch, embed, made_values, own_columns, texts_of
from embedshift.embedding import DIGEST, Template, is_of_text
from embedshift.errors import EmbedshiftError, InputError, NotFoundError
from embedshift.stores.contract import Store

_LOG = logging.getLogger(__name__)
#: How often a row is embedded again because another client has changed its text, before it is left to sync.
_LOOKS = 5

#: The outcome for one article: None if it was written.
Outcome = EmbedshiftError | None


@dataclass(slots=True)
class _Draft:
    """An article to write. ``merged`` has key and template columns after the write, ``made`` vector and digest."""

    row: int
    key: Key
    name: str
    given: Mapping[str, Any]
    at_us: int
    merged: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] | None = None

    @property
    def cells(self) -> Cells:
        return Cells(self.key, self.given, self.at_us)


class Writing:
    """Writes articles through the alias."""

    def __init__(
        self,
        store: Store,
        alias_cache: AliasCache,
        dual_writer: DualWriter,
        clock: Clock,
        locks: RowLocks,
        max_text: int,
    ) -> None:
        self._store = store
        self._alias_cache = alias_cache
        self._dual_writer = dual_writer
        self._clock = clock
        self._locks = locks
        self._max_text = max_text

    def put(self, articles: Sequence[Mapping[str, Any]], *, existing: bool) -> list[Outcome]:
        """Write articles with different keys; returns the outcome of each, in their order.

        Args:
            articles: key and any columns. A column that is not named does not change; None deletes it.
            existing: if an article does not exist, return a NotFoundError instead of adding it.
        """
        # Taken before anything is read: what another client deletes from now on is deleted later than this is written.
        times = [self._clock.next() for _ in articles]
        return self._alias_cache.writing(
            lambda routing: self._put(routing, articles, times, existing),
            doubtful=lambda outcomes: any(outcome is not None for outcome in outcomes),
        )

    def _put(
        self, routing: Routing, articles: Sequence[Mapping[str, Any]], times: Sequence[int], existing: bool
    ) -> list[Outcome]:
        outcomes: list[Outcome] = [None] * len(articles)
        drafts = []
        for row, (article, at_us) in enumerate(zip(articles, times, strict=True)):
            try:
                drafts.append(_draft(routing, row, article, at_us))
            except EmbedshiftError as error:
                outcomes[row] = error
        with self._locks.held(draft.name for draft in drafts):
            drafts = self._merged(routing, drafts, existing, outcomes)
            drafts = self._embedded(routing, drafts, outcomes)
            drafts = self._written(routing, drafts, outcomes)
            if drafts:
                embedded = {n: draft.merged for n, draft in enumerate(drafts) if draft.made is not None}
                self._dual_writer.write(routing, [draft.cells for draft in drafts], embedded)
                self._settle(routing, [draft for draft in drafts if draft.made is not None])
        return outcomes

    def _merged(self, routing: Routing, drafts: list[_Draft], existing: bool, outcomes: list[Outcome]) -> list[_Draft]:
        """Fill in the text's columns that were not given; mark with ``made`` the articles that need a vector."""
        names = self.text_columns(routing)
        asked = [draft for draft in drafts if existing or any(name not in draft.given for name in names)]
        present = self._present(routing, [draft.key for draft in asked])
        kept = []
        for draft in drafts:
            found = present.get(draft.name)
            if existing and found is None:
                outcomes[draft.row] = NotFoundError(
                    f"there is no article {draft.name} in {routing.live.vector_table.table}", hint="add it"
                )
                continue
            draft.merged = {name: draft.given.get(name, (found or {}).get(name)) for name in names} | draft.key
            touches = any(name in draft.given for name in names)
            if found is None or (touches and self._differs(routing, draft, found)):
                draft.made = {}
            kept.append(draft)
        return kept

    def _differs(self, routing: Routing, draft: _Draft, found: Mapping[str, Any]) -> bool:
        live = routing.live
        new, old = (texts_of(live.vector_table, live.table, [row]).digests[0] for row in (draft.merged, found))
        return not is_of_text(found[DIGEST], new) if live.vector_table.digests else new != old

    def _present(self, routing: Routing, keys: Sequence[Key]) -> dict[str, dict[str, Any]]:
        """Key, template columns and digest of the existing rows, by name."""
        if not keys:
            return {}
        values = [*self.text_columns(routing), *([DIGEST] if routing.live.vector_table.digests else [])]
        table = routing.live.table
        rows = self._store.fetch(table, keys_batch(table, keys), values=values).to_pylist()
        return {name_of(table, row): row for row in rows}

    def _embedded(self, routing: Routing, drafts: list[_Draft], outcomes: list[Outcome]) -> list[_Draft]:
        live = routing.live
        wanting = [draft for draft in drafts if draft.made is not None]
        texts = texts_of(live.vector_table, live.table, [draft.merged for draft in wanting])
        for draft, text in zip(wanting, texts.texts, strict=True):
            size = len(text.encode())
            if size > self._max_text:
                outcomes[draft.row] = InputError(
                    f"the text of article {draft.name} has {size:,} bytes, more than {self._max_text:,}",
                    hint="shorten it, or raise articles.max_text",
                )
        told = [n for n, draft in enumerate(wanting) if outcomes[draft.row] is None and not texts.empty[n]]
        vectors = {}
        if told:
            result = embed(self._store, live.vector_table, [texts.texts[n] for n in told])
            for at, reason in result.faults.items():
                draft = wanting[told[at]]
                outcomes[draft.row] = InputError(
                    f"the text of article {draft.name} cannot be embedded ({reason})", hint="look at its text"
                )
            vectors = {n: result.vectors[at] for at, n in enumerate(told)}
        for n, draft in enumerate(wanting):
            draft.made = made_values(live.vector_table, texts, n, vectors.get(n))
        return [draft for draft in drafts if outcomes[draft.row] is None]

    def _written(self, routing: Routing, drafts: list[_Draft], outcomes: list[Outcome]) -> list[_Draft]:
        if not drafts:
            return []
        table = routing.live.table
        cells = [Cells(draft.key, {**draft.given, **(draft.made or {})}, draft.at_us) for draft in drafts]
        for each in self._store.write(table, cells_batch(table, cells)):
            draft = drafts[each.row]
            outcomes[draft.row] = InputError(f"article {draft.name} was refused ({each.reason})")
        return [draft for draft in drafts if outcomes[draft.row] is None]

    def _settle(self, routing: Routing, drafts: Sequence[_Draft]) -> None:
        """Check that the vectors fit the texts that are there now: another client may have written in between.

        Whoever writes last checks last, so that one of them always sees the whole text.
        """
        live, names = routing.live, self.text_columns(routing)
        known = {draft.name: draft.merged for draft in drafts}
        for _ in range(_LOOKS):
            if not known:
                return
            # Taken before the rows are read: a row that is deleted after that stays deleted.
            at_us = self._clock.next()
            keys = [{key.name: row[key.name] for key in live.table.keys} for row in known.values()]
            present = self._present(routing, keys)
            if live.vector_table.digests:
                names_found = list(present)
                now = texts_of(live.vector_table, live.table, [present[name] for name in names_found])
                moved = [
                    name
                    for name, digest in zip(names_found, now.digests, strict=True)
                    if not is_of_text(present[name][DIGEST], digest)
                ]
            else:
                moved = [name for name, row in present.items() if any(row[n] != known[name][n] for n in names)]
            known = self.embed_present(routing, [present[name] for name in moved], at_us)
        if known:
            _LOG.warning("%s kept changing while they were embedded; sync will repair them", ", ".join(known))

    @staticmethod
    def text_columns(routing: Routing) -> list[str]:
        """The template's columns that are not in the key."""
        keys = {column.name for column in routing.live.table.keys}
        return [name for name in Template.parse(routing.live.vector_table.text).columns if name not in keys]

    def embed_present(
        self, routing: Routing, rows: Sequence[Mapping[str, Any]], at_us: int
    ) -> dict[str, dict[str, Any]]:
        """Give rows the vector of their current text.

        Args:
            rows: key and template columns of existing rows.
            at_us: a time before they were read.

        Returns:
            Key and template columns of the rows that were embedded, by name. The texts of the others cannot be
            embedded.
        """
        if not rows:
            return {}
        live = routing.live
        texts = texts_of(live.vector_table, live.table, rows)
        told = [n for n in range(len(rows)) if not texts.empty[n]]
        result = embed(self._store, live.vector_table, [texts.texts[n] for n in told])
        vectors = {n: result.vectors[at] for at, n in enumerate(told) if at not in result.faults}
        able = [n for n in range(len(rows)) if texts.empty[n] or n in vectors]
        merged = [{name: rows[n][name] for name in _merged_columns(routing)} for n in able]
        keys = [{key.name: rows[n][key.name] for key in live.table.keys} for n in able]
        cells = [
            Cells(key, made_values(live.vector_table, texts, n, vectors.get(n)), at_us)
            for n, key in zip(able, keys, strict=True)
        ]
        if cells:
            self._store.write(live.table, cells_batch(live.table, cells))
            self._dual_writer.write(routing, [Cells(key, {}, at_us) for key in keys], dict(enumerate(merged)))
        return {name_of(live.table, key): row for key, row in zip(keys, merged, strict=True)}


def _merged_columns(routing: Routing) -> list[str]:
    return [*(column.name for column in routing.live.table.keys), *Writing.text_columns(routing)]


def _draft(routing: Routing, row: int, article: Mapping[str, Any], at_us: int) -> _Draft:
    """Check one article against the live table. Raises InputError."""
    table = routing.live.table
    if not isinstance(article, Mapping):
        raise InputError("an article is a mapping of column names to values", hint="give a dict")
    keys = {column.name for column in table.keys}
    key = key_of(table, {name: article[name] for name in keys if name in article})
    known = {column.name: column for column in own_columns(routing.live.vector_table, table)}
    given = {}
    for name, value in article.items():
        if name in keys:
            continue
        if name not in known:
            made = table.column(str(name)) is not None
            raise InputError(
                f"{name} is made by embedshift" if made else f"{table.name} has no column {name}",
                hint="leave it out" if made else f"it has {', '.join(known)}",
            )
        given[name] = typed(known[name], value)
    return _Draft(row, key, name_of(table, key), given, at_us)
