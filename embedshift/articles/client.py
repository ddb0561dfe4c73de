"""The object that an application uses for its articles, before, during and after a migration."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.articles.bulk import Added, Refreshed, Refreshing, add_many
from embedshift.articles.delete import DEACTIVATED, Deleting, check_soft_delete
from embedshift.articles.drop import Dropped, drop
from embedshift.articles.dual_write import DualWriter
from embedshift.articles.erase import Erased, erase
from embedshift.articles.keys import Clock, RowLocks, key_of, parse_id
from embedshift.articles.purge import Purge, Purged
from embedshift.articles.routing import AliasCache
from embedshift.articles.search import Finding, Match
from embedshift.articles.shadow import Shadowing
from embedshift.articles.write import Writing
from embedshift.errors import InputError, SettingsError, UsageError
from embedshift.settings import Settings, load_settings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.stores.model import Table

#: Asks a person to type a name; returns what was typed.
Confirm = Callable[[str], str]


class Articles:
    """The articles behind an alias. Open one object per process; its threads may share it.

    Every error is an ``EmbedshiftError`` with a one-line message. Wrong input is refused before anything is written.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self._store = store
        self._process = os.getpid()
        self._closed = False
        self._alias_cache = alias_cache = AliasCache(store, settings)
        clock, locks = Clock(), RowLocks()
        dual_writer = DualWriter(store, alias_cache.refresh)
        self._writing = Writing(store, alias_cache, dual_writer, clock, locks, settings.articles.max_text)
        self._refreshing = Refreshing(store, alias_cache, self._writing, clock, locks)
        self._deleting = Deleting(store, alias_cache, dual_writer, clock, locks)
        self._finding = Finding(store, alias_cache)
        self._purge = Purge(store, alias_cache, self._deleting, clock, locks)
        self._shadowing = Shadowing(store, alias_cache, settings.articles.shadow)
        self._clock, self._locks = clock, locks

    @classmethod
    def open(cls, config: Settings | Path | str, *, shadow: float | None = None) -> Articles:
        """Connect to the store of a settings file, or of settings that are already loaded.

        Args:
            shadow: share of the searches that is also sent to the new table of a running migration, in the
                background; ``articles.shadow`` of the settings if None.

        Raises:
            SettingsError: the file is wrong, or the share is not between 0 and 1.
            StoreUnavailable: the store does not answer.
            StateError: there is no such alias.
            SchemaError: the alias points to a table that does not exist.
        """
        settings = config if isinstance(config, Settings) else load_settings(Path(config))
        if shadow is not None:
            if not 0 <= shadow <= 1:
                raise SettingsError(
                    f"shadow is {shadow}, which is not a share", hint="write a number from 0 to 1, such as 0.05"
                )
            wanted = settings.articles.model_copy(update={"shadow": float(shadow)})
            settings = settings.model_copy(update={"articles": wanted})
        store = open_store(settings.store)
        try:
            articles = cls(settings, store)
            articles._alias_cache.now()
        except BaseException:
            store.close()
            raise
        return articles

    def __enter__(self) -> Articles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End shadow reading and close the connections.

        A second call does nothing. In a forked child process nothing is closed.
        """
        if not self._closed and self._process == os.getpid():
            self._shadowing.close()
            self._store.close()
        self._closed = True

    def add(self, article: Mapping[str, Any]) -> None:
        """Write one article: its key and any other columns. If it exists, the given columns are replaced.

        Raises:
            InputError: a column is unknown or of another type, the key is missing, or the text is too long or cannot
                be embedded.
            ModelUnavailable, StoreUnavailable: nothing was written, or the store did not confirm the write.
        """
        self._put(article, existing=False)

    def add_many(self, articles: Iterable[Mapping[str, Any]]) -> Added:
        """Write articles in batches, in their order; of two with the same id the later wins.

        An article that cannot be written is reported, and the others are written. Articles are taken from the iterable
        when they are needed, so that ``articles.batch`` bounds the memory.

        Raises:
            ModelUnavailable, StoreUnavailable: the rest could not be written; add them again.
        """
        self._check()
        return add_many(self._alias_cache, self._writing, articles, self.settings.articles.batch)

    def update(self, id: Any, /, **columns: Any) -> None:
        """Change columns of an existing article. It is embedded again only if its text changes.

        Raises:
            NotFoundError: there is no such article.
            InputError: as for ``add``.
        """
        key = self._key(id)
        if fixed := [name for name in columns if name in key]:
            raise InputError(f"{fixed[0]} is in the key, and a key never changes", hint="add another article")
        self._put({**columns, **key}, existing=True)

    def get(self, id: Any) -> dict[str, Any] | None:
        """An article's columns as JSON values, active or not, without vector and digest; None if it does not exist."""
        self._check()
        return self._finding.get(id)

    def delete(self, id: Any) -> bool:
        """Delete an article. Returns whether it existed."""
        self._check()
        return self._deleting.delete(id)

    def deactivate(self, id: Any) -> None:
        """Hide an article from every search, but keep it.

        Raises:
            NotFoundError: there is no such article.
            SchemaError: the table has no column for this: run embedshift schema add-soft-delete.
        """
        self._mark(id, time.time_ns() // 1_000_000)

    def restore(self, id: Any) -> None:
        """Make an article active again. Raises the same errors as ``deactivate``."""
        self._mark(id, None)

    def search(
        self,
        question: str,
        k: int = 10,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[Match]:
        """The k active articles nearest to a question, nearest first. The alias row's model embeds the question.

        Args:
            k: 1 to 1000.
            columns: the columns to return; if None, all but vector and digest.
            where: columns, and the values that articles must have there: ``{"category": "salt"}``. The index must
                have these columns, see docs/index-options.md.

        Raises:
            InputError: the question is empty, k is out of bounds, or a value is not one of its column.
            SchemaError: there is no such column, or the store cannot search by it.
        """
        self._check()
        started = time.perf_counter()
        found = self._finding.search(question, k, columns, where)
        self._shadowing.offer(question, k, columns, where, found, time.perf_counter() - started)
        return found

    def search_vector(
        self,
        vector: Iterable[float] | NDArray[np.float32],
        k: int = 10,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[Match]:
        """The same for a vector of shape (dimension,). Raises InputError if it has another shape, or a NaN."""
        self._check()
        return self._finding.search_vector(vector, k, columns, where)

    def search_like(
        self,
        id: Any,
        k: int = 10,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[Match]:
        """The k active articles nearest to an article, without that article. Raises NotFoundError."""
        self._check()
        return self._finding.search_like(id, k, columns, where)

    def refresh(self, ids: Iterable[Any]) -> Refreshed:
        """Embed articles whose text was written by something else. Vectors that fit their text are left alone.

        Raises:
            InputError: an id is of another type.
        """
        self._check()
        table = self._alias_cache.now().live.table
        return self.refresh_keys([key_of(table, each) for each in ids])

    def refresh_keys(self, keys: Sequence[Mapping[str, Any]]) -> Refreshed:
        """The same for primary keys, each a mapping of column to value as the store has them."""
        self._check()
        return self._refreshing.refresh([dict(key) for key in keys])

    def live_table(self) -> Table:
        """The table that the alias names now, as its store describes it."""
        self._check()
        return self._alias_cache.now().live.table

    def erase(self, id: Any) -> list[Erased]:
        """Remove an article from every place where embedshift keeps it, and prove it. Returns one entry for each place.

        Raises:
            CheckFailed: a place still has the article; the error names it.
        """
        self._check()
        return erase(self._store, self.settings, self._alias_cache, self._clock, self._locks, id)

    def purge(
        self,
        inactive_for: timedelta | None = None,
        archive: Path | None = None,
        *,
        not_in: Path | None = None,
        max_share: float = 0.1,
        dry_run: bool = False,
    ) -> Purged:
        """Delete what was deactivated longer ago than ``inactive_for``, or what is ``not_in`` a file of ids.

        Args:
            archive: a .jsonl or .parquet file to which the articles are written before they are deleted; an existing
                file is never overwritten.
            not_in: one id per line: a JSON value, or an object with the key's columns.
            max_share: if ``not_in`` would delete a larger share of the table than this, nothing is deleted.

        Raises:
            InputError: the file of ids is empty or wrong, or the archive cannot be written.
            RefusedError: too many articles would be deleted.
        """
        self._check()
        if (inactive_for is None) == (not_in is None):
            raise UsageError("purge needs one rule", hint="give inactive_for or not_in")
        if not_in is not None:
            return self._purge.not_in(not_in, archive, max_share=max_share, dry_run=dry_run)
        assert inactive_for is not None
        return self._purge.inactive(inactive_for, archive, dry_run=dry_run)

    def drop(self, confirm: Confirm | None = None) -> Dropped:
        """Drop table, index and catalog rows of the alias, and close this object.

        Args:
            confirm: asks a person for the table's name and returns what was typed; None if no confirmation is needed.

        Raises:
            RefusedError: a migration is running, another alias names the table, or its name was not typed.
        """
        self._check()
        dropped = drop(self.settings, self._store, confirm)
        self.close()
        return dropped

    def parse_id(self, text: str) -> Any:
        """An id as it was typed on a command line, converted for the other methods."""
        self._check()
        return self._alias_cache.reading(lambda routing: parse_id(routing.live.table, text))

    def _put(self, article: Mapping[str, Any], *, existing: bool) -> None:
        self._check()
        (outcome,) = self._writing.put([article], existing=existing)
        if outcome is not None:
            raise outcome

    def _mark(self, id: Any, moment_ms: int | None) -> None:
        self._check()
        self._alias_cache.reading(check_soft_delete)
        self._put({DEACTIVATED: moment_ms, **self._key(id)}, existing=True)

    def _key(self, id: Any) -> dict[str, Any]:
        """The key columns of an id, as the caller wrote them."""
        self._check()
        table = self._alias_cache.now().live.table
        key_of(table, id)
        return dict(id) if isinstance(id, Mapping) else {table.keys[0].name: id}

    def _check(self) -> None:
        if self._process != os.getpid():
            raise UsageError(
                f"these articles were opened in process {self._process}, of which this process is a fork",
                hint="open Articles in each process, after the fork",
            )
        if self._closed:
            raise UsageError("these articles are closed", hint="open them again")
