"""The other table of a running migration: written after the live table, and never at its expense."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embedshift.articles.keys import Key, keys_batch, name_of
from embedshift.articles.routing import LiveTable, Routing
from embedshift.articles.rows import Cells, Texts, cells_batch, embed, made_values, texts_of
from embedshift.catalog.dead_letters import DeadLetter, client_step, write_client_letters
from embedshift.catalog.ledger import Entry, enter
from embedshift.errors import EmbedshiftError, NotPermitted, SchemaError
from embedshift.stores.contract import Store
from embedshift.stores.log_fed import delete_rows
from embedshift.tokens import WHOLE_RING

_LOG = logging.getLogger(__name__)


class DualWriter:
    """Writes to the other tables. Any failure there is logged and left to sync as a dead letter.

    Args:
        refresh: looks up the routing again; a failure in a table that is no longer in it is not a failure.
    """

    def __init__(self, store: Store, refresh: Callable[[], Routing]) -> None:
        self._store = store
        self._refresh = refresh
        self._warned = False

    def write(self, routing: Routing, rows: Sequence[Cells], embedded: Mapping[int, Mapping[str, Any]]) -> None:
        """Write rows that are already in the live table.

        Args:
            rows: as they were written to the live table, without vectors and digests.
            embedded: the template's columns of each row whose text was embedded, by its position.
        """
        for live_table in routing.others:
            failed = self._tried(partial(self._write, live_table, rows, embedded), len(rows))
            lost = [(rows[row].key, rows[row].at_us, reason) for row, reason in sorted(failed.items())]
            self._record(routing, live_table, "put", lost)

    def delete(self, routing: Routing, keys: Sequence[Key], at_us: Sequence[int]) -> None:
        """Delete rows that are already deleted from the live table, with the same times."""
        for live_table in routing.others:
            failed = self._tried(partial(self._delete, live_table, keys, at_us), len(keys))
            lost = [(keys[row], at_us[row], reason) for row, reason in sorted(failed.items())]
            self._record(routing, live_table, "delete", lost)

    def _tried(self, work: Callable[[], dict[int, str]], rows: int) -> dict[int, str]:
        try:
            return work()
        except EmbedshiftError as error:
            reason = error.what
        # Whatever a driver or a model raises must not undo what is in the live table; the message could contain a text.
        except Exception as error:  # noqa: BLE001
            reason = type(error).__name__
        return dict.fromkeys(range(rows), reason)

    def _delete(self, live_table: LiveTable, keys: Sequence[Key], at_us: Sequence[int]) -> dict[int, str]:
        table = live_table.table
        delete_rows(self._store, table, live_table.made, keys_batch(table, keys), np.array(at_us, np.int64))
        return {}

    def _write(
        self, live_table: LiveTable, rows: Sequence[Cells], embedded: Mapping[int, Mapping[str, Any]]
    ) -> dict[int, str]:
        vector_table, table = live_table.vector_table, live_table.table
        unknown = {name for row in rows for name in row.values if table.column(name) is None}
        if unknown:
            raise SchemaError(f"{table.name} has no column {min(unknown)}")
        at = list(embedded)
        texts = texts_of(vector_table, table, [embedded[row] for row in at])
        made, failed = self._embedded(live_table, at, texts)
        whole = [row for row in range(len(rows)) if row not in failed]
        cells = [replace(rows[row], values={**rows[row].values, **made.get(row, {})}) for row in whole]
        if cells:
            self._enter(live_table, cells)
            rejected = self._store.write(table, cells_batch(table, cells))
            failed |= {whole[each.row]: each.reason for each in rejected}
        return failed

    def _enter(self, live_table: LiveTable, rows: Sequence[Cells]) -> None:
        """Say in the ledger that these rows are in both tables: whoever deletes one in only one of them means it.

        Only a reader of both tables can confirm it: the write may fail, or be hidden by a newer deletion.
        """
        entries = [Entry(name_of(live_table.table, row.key), row.at_us) for row in rows]
        try:
            enter(self._store, live_table.migration, live_table.vector_table.table, entries)
        except (SchemaError, NotPermitted) as error:
            # The migration is run by a former version, or this application has the permissions that one needed.
            if not self._warned:
                self._warned = True
                _LOG.warning("rows of both tables are not entered in the ledger: %s", error)

    def _embedded(
        self, live_table: LiveTable, at: Sequence[int], texts: Texts
    ) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
        told = [n for n in range(len(at)) if not texts.empty[n]]
        vectors: dict[int, Any] = {}
        failed: dict[int, str] = {}
        if told:
            result = embed(self._store, live_table.vector_table, [texts.texts[n] for n in told])
            failed = {at[told[n]]: reason for n, reason in result.faults.items()}
            vectors = {n: result.vectors[row] for row, n in enumerate(told)}
        made = {row: made_values(live_table.vector_table, texts, n, vectors.get(n)) for n, row in enumerate(at)}
        return made, failed

    def _record(
        self, routing: Routing, live_table: LiveTable, operation: str, failed: Sequence[tuple[Key, int, str]]
    ) -> None:
        """Leave a letter for each row: which operation failed in the other table, at which write time, and why."""
        if not failed:
            return
        names = [name_of(routing.live.table, key) for key, _, _ in failed]
        try:
            now = self._refresh()
            if live_table.vector_table.table not in [each.vector_table.table for each in (now.live, *now.others)]:
                return  # retired or dropped since the routing was looked up
            letters = [
                DeadLetter(name, WHOLE_RING, client_step(operation, at, of_way_back=live_table.way_back), reason, 1)
                for name, (_, at, reason) in zip(names, failed, strict=True)
            ]
            write_client_letters(self._store, live_table.migration, letters)
        except EmbedshiftError as error:
            # Sync compares every row, with or without a dead letter: the letter only makes the failure visible earlier.
            _LOG.warning("%d dead letters, such as that of %s, could not be recorded: %s", len(names), names[0], error)
        _LOG.warning(
            "%d articles, such as %s, were not written to %s (%s); sync will repair them",
            len(names),
            names[0],
            live_table.vector_table.table,
            failed[0][2],
        )
