"""The other table of a running migration: written after the live one, and never at its expense."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jobs.articles.cells import Cells, cells_batch, made_values
from jobs.articles.following import Place, View
from jobs.articles.keys import Key, keys_batch, name_of
from jobs.articles.vectors import Texts, embed, texts_of
from jobs.catalog.dead_letters import DeadLetter, write_dead_letters
from jobs.errors import EmbedshiftError, SchemaError
from jobs.stores.contract import Store
from jobs.tokens import WHOLE_RING

_LOG = logging.getLogger(__name__)
#: The steps of letters that a client leaves; sync settles the first kind, and rollback, with its own, the second.
_THERE, _BACK = "client", "back/client"


class Seconds:
    """Writes into the second tables. Whatever fails there is logged and left to sync as a dead letter.

    Args:
        refresh: looks the view up anew; a failure in a table that is no second one any more is no failure.
    """

    def __init__(self, store: Store, refresh: Callable[[], View]) -> None:
        self._store = store
        self._refresh = refresh

    def write(self, view: View, rows: Sequence[Cells], embedded: Mapping[int, Mapping[str, Any]]) -> None:
        """Write rows that are in the live table by now.

        Args:
            rows: as the live table got them, less vectors and digests.
            embedded: of each row whose text was embedded, by its place, the template's columns.
        """
        for place in view.seconds:
            failed = self._tried(partial(self._write, place, rows, embedded), len(rows))
            self._record(view, place, [(rows[row].key, reason) for row, reason in sorted(failed.items())])

    def delete(self, view: View, keys: Sequence[Key], at_us: Sequence[int]) -> None:
        """Delete rows that are gone from the live table by now, at the same times."""
        for place in view.seconds:
            failed = self._tried(partial(self._delete, place, keys, at_us), len(keys))
            self._record(view, place, [(keys[row], reason) for row, reason in sorted(failed.items())])

    def _tried(self, work: Callable[[], dict[int, str]], rows: int) -> dict[int, str]:
        try:
            return work()
        except EmbedshiftError as error:
            reason = error.what
        # Whatever a driver or a model may throw must not undo what the live table has; the words could hold a text.
        except Exception as error:  # noqa: BLE001
            reason = type(error).__name__
        return dict.fromkeys(range(rows), reason)

    def _delete(self, place: Place, keys: Sequence[Key], at_us: Sequence[int]) -> dict[int, str]:
        self._store.delete(place.table, keys_batch(place.table, keys), np.array(at_us, np.int64))
        return {}

    def _write(self, place: Place, rows: Sequence[Cells], embedded: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
        endpoint, table = place.endpoint, place.table
        unknown = {name for row in rows for name in row.values if table.column(name) is None}
        if unknown:
            raise SchemaError(f"{table.name} has no column {min(unknown)}")
        at = list(embedded)
        texts = texts_of(endpoint, table, [embedded[row] for row in at])
        made, failed = self._embedded(place, at, texts)
        whole = [row for row in range(len(rows)) if row not in failed]
        cells = [replace(rows[row], values={**rows[row].values, **made.get(row, {})}) for row in whole]
        if cells:
            rejected = self._store.write(table, cells_batch(table, cells))
            failed |= {whole[each.row]: each.reason for each in rejected}
        return failed

    def _embedded(
        self, place: Place, at: Sequence[int], texts: Texts
    ) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
        told = [n for n in range(len(at)) if not texts.empty[n]]
        vectors: dict[int, Any] = {}
        failed: dict[int, str] = {}
        if told:
            result = embed(place.endpoint, [texts.texts[n] for n in told])
            failed = {at[told[n]]: reason for n, reason in result.faults.items()}
            vectors = {n: result.vectors[row] for row, n in enumerate(told)}
        made = {row: made_values(place.endpoint, texts, n, vectors.get(n)) for n, row in enumerate(at)}
        return made, failed

    def _record(self, view: View, place: Place, failed: Sequence[tuple[Key, str]]) -> None:
        if not failed:
            return
        names = [name_of(view.live.table, key) for key, _ in failed]
        try:
            now = self._refresh()
            if place.endpoint.table not in [each.endpoint.table for each in (now.live, *now.seconds)]:
                return  # retired, or dropped, since the view was made
            step = _BACK if place.way_back else _THERE
            letters = [
                DeadLetter(name, WHOLE_RING, step, reason, 1) for name, (_, reason) in zip(names, failed, strict=True)
            ]
            write_dead_letters(self._store, place.migration, letters)
        except EmbedshiftError as error:
            # Sync compares every row, with a letter or without: the letter only makes it known before.
            _LOG.warning("%d dead letters, such as that of %s, are not recorded: %s", len(names), names[0], error)
        _LOG.warning(
            "%d articles, such as %s, were not written to %s (%s); sync repairs them",
            len(names),
            names[0],
            place.endpoint.table,
            failed[0][1],
        )
