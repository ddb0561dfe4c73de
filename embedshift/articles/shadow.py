"""Shadow reading: a share of the searches is also sent to a migration's new table, after the answer was returned.

A caller never waits for it. If the queue is full, the search is dropped and counted. Failures stay in the background.
Only figures are kept; no question and no article is written or logged.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread

from embedshift.articles.routing import AliasCache, LiveTable, Routing
from embedshift.articles.rows import embed_question, make_ready
from embedshift.articles.search import Condition, Match, nearest
from embedshift.catalog.actor import new_run
from embedshift.catalog.migration import read_migration
from embedshift.catalog.shadow import ShadowStats, write_shadow
from embedshift.catalog.states import ALLOWED
from embedshift.errors import EmbedshiftError
from embedshift.stores.contract import Store
from embedshift.times import now_us
from embedshift.validation.overlap import overlap, rank_biased_overlap

_LOG = logging.getLogger(__name__)
#: Searches that may wait for the background thread; more are dropped.
WAITING = 32
#: Seconds between two writes of the figures.
WRITE_S = 10.0
#: How long ``close`` waits for a running search, in seconds.
END_S = 5.0
#: The number of results that are compared.
_DEPTH = 10


def count_pair(stats: ShadowStats, old: Sequence[Match], new: Sequence[Match], old_s: float, new_s: float) -> None:
    """Add the answers of both tables to one question to the statistics, with the seconds that each took."""
    before, after = _names(old), _names(new)
    stats.searches += 1
    stats.overlap.count(overlap(before, after, _DEPTH))
    stats.rbo.count(rank_biased_overlap(before[:_DEPTH], after[:_DEPTH]))
    stats.old.count(old_s)
    stats.new.count(new_s)
    stats.to_us = now_us()
    stats.from_us = stats.from_us or stats.to_us


def _names(found: Sequence[Match]) -> list[str]:
    return [json.dumps(each.id, sort_keys=True, default=str) for each in found]


@dataclass(frozen=True, slots=True)
class _Search:
    """A search that was answered, and its answer."""

    question: str
    k: int
    columns: Sequence[str] | None
    where: Condition | None
    found: Sequence[Match]
    seconds: float


class Shadowing:
    """Sends a share of a client's searches to the new table as well.

    Args:
        share: 0 for none, 1 for every search.
    """

    def __init__(self, store: Store, alias_cache: AliasCache, share: float) -> None:
        self._store = store
        self._alias_cache = alias_cache
        self._share = share
        self._random = random.Random()
        self._queue: Queue[_Search | None] = Queue(WAITING)
        self._lock = Lock()
        self._thread: Thread | None = None
        self._ended = Event()
        self._dropped = 0
        # Used only by the background thread.
        self._routing: Routing | None = None
        self._target: LiveTable | None = None
        self._migration, self._run, self._stats = "", "", ShadowStats()
        self._written = (0, 0, 0)
        self._warned, self._unwritten = False, False

    def offer(
        self,
        question: str,
        k: int,
        columns: Sequence[str] | None,
        where: Condition | None,
        found: Sequence[Match],
        seconds: float,
    ) -> None:
        """Take a search that was answered. Returns at once, and never raises."""
        if not self._share or self._random.random() >= self._share or _new_table(self._alias_cache.seen()) is None:
            return
        try:
            self._start()
            self._queue.put_nowait(_Search(question, k, columns, where, found, seconds))
        except (Full, RuntimeError):  # a RuntimeError: no thread can be started
            self._drop()

    def close(self) -> None:
        """End the background thread: drop waiting searches, give a running one a few seconds, write the figures."""
        self._ended.set()
        if self._thread is None:
            return
        while True:
            try:
                if self._queue.get_nowait() is not None:
                    self._drop()
            except Empty:
                break
        self._queue.put(None)  # wakes the background thread; nothing else is put now, so there is room
        self._thread.join(END_S)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                thread = Thread(target=self._work, name="embedshift-shadow", daemon=True)
                thread.start()
                self._thread = thread

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _work(self) -> None:
        written_s = time.monotonic()
        while not self._ended.is_set():
            try:
                search = self._queue.get(timeout=WRITE_S)
            except Empty:
                search = None
            if search is not None:
                self._try(search)
            if time.monotonic() - written_s >= WRITE_S:
                self._write()
                written_s = time.monotonic()
        self._write()

    def _try(self, search: _Search) -> None:
        try:
            self._shadow(search)
        # Whatever a driver or a model raises must not end the background thread; the message could contain the
        # question.
        except Exception as error:  # noqa: BLE001
            self._stats.failed += 1
            if not self._warned:
                self._warned = True
                _LOG.warning("a shadow search failed (%s); later failures are only counted", type(error).__name__)

    def _shadow(self, search: _Search) -> None:
        live_table = self._target_now()
        if live_table is None:
            return
        make_ready(self._store, live_table.vector_table)
        started = time.perf_counter()
        vector = embed_question(self._store, live_table.vector_table, search.question)
        found = nearest(self._store, live_table, vector, search.k, search.columns, search.where)
        count_pair(self._stats, search.found, found, search.seconds, time.perf_counter() - started)

    def _target_now(self) -> LiveTable | None:
        """The new table, if it can already be searched; looked up again whenever the routing changes."""
        routing = self._alias_cache.seen()
        if routing is not self._routing:
            self._routing, self._target = routing, self._look(routing)
        return self._target

    def _look(self, routing: Routing | None) -> LiveTable | None:
        live_table = _new_table(routing)
        if live_table is None or read_migration(self._store, live_table.migration).state not in ALLOWED["shadow"]:
            return None
        if live_table.migration != self._migration:
            self._write()
            self._migration, self._run, self._stats = live_table.migration, new_run(), ShadowStats()
        return live_table

    def _write(self) -> None:
        """Write the figures, if there are new ones."""
        counts = (self._stats.searches, self._stats.failed, self._dropped)
        if not self._stats.searches or counts == self._written:
            return
        try:
            write_shadow(self._store, self._migration, self._run, replace(self._stats, dropped=self._dropped))
            self._written, self._unwritten = counts, False
        except EmbedshiftError as error:
            if not self._unwritten:  # once, not every ten seconds: the application may lack the permission
                _LOG.warning("the figures of shadow reading could not be written: %s", error)
            self._unwritten = True


def _new_table(routing: Routing | None) -> LiveTable | None:
    """The new table of the running migration; None if there is none, or the new table is already live."""
    if routing is None:
        return None
    return next((live_table for live_table in routing.others if not live_table.way_back), None)
