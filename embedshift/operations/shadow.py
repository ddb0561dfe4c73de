"""Shadow reading with given questions: they are sent to the live and the new table at a rate, and compared."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

from embedshift.articles.routing import LiveTable
from embedshift.articles.rows import embed_question
from embedshift.articles.search import Match, nearest
from embedshift.articles.shadow import WRITE_S, count_pair
from embedshift.catalog.actor import new_run
from embedshift.catalog.alias import get_alias
from embedshift.catalog.migration import get_migration, read_migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.shadow import ShadowStats, write_shadow
from embedshift.catalog.states import ALLOWED, check_step
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import CheckFailed, InputError, StateError
from embedshift.steps.context import StepContext
from embedshift.stores.contract import Store

_K = 10
#: How many questions may run at once; above that a question is dropped, as in an application.
_AT_ONCE = 16


def shadow(context: StepContext, *, questions: Path, rate: float, minutes: float) -> dict[str, Any]:
    """Send questions to both tables, and record the figures for the next report.

    Ctrl-C ends it early; the figures until then are recorded and printed.

    Args:
        questions: one per line, as text or as JSON with "text"; they are repeated until the time is over.
        rate: questions per second.
        minutes: how long.

    Raises:
        InputError: the file cannot be read or contains no question.
        StateError: the new table has no index yet, or is already live.
        CheckFailed: no question was answered by both tables.
    """
    settings, store, console = context.settings, context.store, context.console
    texts = read_texts(questions)
    migration = get_migration(store, settings)
    check_step("shadow", migration.state, migration.id)
    live = get_alias(store, settings.alias).target
    if live.table != migration.source.table:
        raise StateError(f"{live.table} is live, not {migration.source.table}", hint="look at embedshift status")
    ensure_catalog(store)
    run = _Run(store, migration.id, live, migration.target)
    run.ask(0, texts[0])  # so that a problem with a model or a table is reported before the clock starts
    started, interrupted = time.monotonic(), False
    try:
        console.say(
            f"{rate:g} questions per second for {minutes:g} minutes, to {live.table} and {migration.target.table}"
        )
        run.ask_all(texts, rate, minutes * 60)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        run.end()
    stats = run.stats
    result = {"migration": migration.id, **stats.report(), "seconds": round(time.monotonic() - started, 3)}
    for line in _lines(result):
        console.say(line)
    if interrupted:
        if console.as_json:
            console.finish({**result, "interrupted": True})
        raise KeyboardInterrupt
    if not stats.searches:
        why = f" ({run.failure})" if run.failure else ""
        raise CheckFailed(f"no question was answered by both tables{why}", hint="look at embedshift status")
    return {**result, "interrupted": False}


def read_texts(path: Path) -> list[str]:
    """The questions of a file: one text per line, or JSON lines with "text". Raises InputError that names the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the questions {path}", hint="name a text file or JSON lines") from error
    texts = [_text(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not texts:
        raise InputError(f"{path} contains no question", hint="write one per line")
    return texts


def _text(line: str, where: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    try:
        text = json.loads(line).get("text")
    except (ValueError, RecursionError):
        text = None
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'{where} is not JSON with "text"', hint="fix that line")
    return text


class _Run:
    """One run: its threads, and its figures."""

    def __init__(self, store: Store, migration: str, old: VectorTable, new: VectorTable) -> None:
        self._store = store
        self._migration = migration
        self._old = LiveTable.of(store, old)
        self._new = LiveTable.of(store, new)
        self._name = new_run()
        self._lock = Lock()
        self._free = BoundedSemaphore(_AT_ONCE)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="embedshift-shadow")
        self.stats = ShadowStats()
        #: The kind of the last failure.
        self.failure = ""

    def ask_all(self, texts: list[str], rate: float, seconds: float) -> None:
        """Ask the questions in a loop at the given rate, until the time is over or the migration has moved on."""
        started = written = time.monotonic()
        for number, text in zip(count(), cycle(texts)):
            due = started + number / rate
            if due >= started + seconds:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            if self._free.acquire(blocking=False):
                self._pool.submit(self._measure, number, text)
            else:
                self.stats.dropped += 1
            if time.monotonic() - written >= WRITE_S:
                written = time.monotonic()
                self._write()
                if read_migration(self._store, self._migration).state not in ALLOWED["shadow"]:
                    return

    def ask(self, number: int, text: str) -> tuple[list[Match], list[Match], float, float]:
        """The answers of both tables to one question, and the seconds that each took."""
        # The order alternates, so that neither side always profits from what the other has read.
        if number % 2:
            after, new_s = self._search(self._new, text)
            before, old_s = self._search(self._old, text)
        else:
            before, old_s = self._search(self._old, text)
            after, new_s = self._search(self._new, text)
        return before, after, old_s, new_s

    def end(self) -> None:
        """Wait for running questions, and write the figures."""
        self._pool.shutdown(wait=True)
        self._write()

    def _search(self, live_table: LiveTable, text: str) -> tuple[list[Match], float]:
        started = time.perf_counter()
        found = nearest(self._store, live_table, embed_question(self._store, live_table.vector_table, text), _K, None)
        return found, time.perf_counter() - started

    def _measure(self, number: int, text: str) -> None:
        try:
            answers = self.ask(number, text)
            with self._lock:
                count_pair(self.stats, *answers)
        # A question that fails is only counted; the message of a driver's error could contain the question.
        except Exception as error:  # noqa: BLE001
            with self._lock:
                self.stats.failed += 1
                self.failure = type(error).__name__
        finally:
            self._free.release()

    def _write(self) -> None:
        with self._lock:
            if self.stats.searches:
                write_shadow(self._store, self._migration, self._name, self.stats)


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['searches']:,} searches, {result['dropped']:,} dropped, {result['failed']:,} failed"
    for name, key in (("overlap@10", "overlap@10"), ("rank-biased overlap", "rbo")):
        if part := result[key]:
            yield f"{name}: {part['mean']:.4f} ({part['low']:.4f} to {part['high']:.4f})"
    for side in ("old", "new"):
        if part := result["latency"][side]:
            yield f"{side}: p50 {part['p50_ms']:.1f} ms, p95 {part['p95_ms']:.1f} ms, p99 {part['p99_ms']:.1f} ms"
