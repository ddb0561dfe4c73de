"""Step 4, sync: compare source and target range by range and mend what differs, until a pass finds nothing."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession

from jobs.catalog.alias import get_alias
from jobs.catalog.dead_letters import read_dead_letters
from jobs.catalog.migration import Migration, Ownership, get_migration, owned, read_migration
from jobs.catalog.ranges import Counts, forget_step, progress
from jobs.catalog.states import check_step
from jobs.catalog.tables import now_us
from jobs.console import Console
from jobs.errors import CheckFailed, UsageError
from jobs.options import parse_span
from jobs.settings import Settings
from jobs.spark.dead import check_dead_letters, settle_dead_letters
from jobs.spark.pacing import paced
from jobs.spark.plan import plan_ranges
from jobs.spark.preview import preview
from jobs.spark.run import run_transfer
from jobs.spark.session import spark_session
from jobs.spark.transfer import transfer_of
from jobs.stores.contract import Store

#: The step under which the ranges of ``sync --since`` are kept while it runs.
_RECENT = "sync/since"


def sync(
    settings: Settings,
    store: Store,
    console: Console,
    *,
    dry_run: bool = False,
    since: str | None = None,
    whole: bool = True,
) -> dict[str, Any]:
    """Repeat passes until one finds no difference above ``sync.until``.

    Args:
        whole: the first pass compares every row, whatever a change log says.
        since: compare only rows written since then (``parse_since``); the state stays, since this proves nothing.

    Raises:
        CheckFailed: the table still differs after ``sync.passes``, a range failed every try, or too many rows are dead.
        StateError, OwnedByAnother: the state forbids it, or another run does it.
    """
    migration = get_migration(store, settings)
    since_us = None if since is None else parse_since(since)
    console.say(f"compare {migration.source.table} with {migration.target.table} and mend what differs")
    if dry_run:
        check_step("sync", migration.state, migration.id)
        return {"dry_run": True, **would_carry(settings, store, console, migration, since_us=since_us)}
    with (
        owned(store, migration, "sync", settings.cutover.lease) as ownership,
        spark_session(settings, "sync") as session,
    ):
        syncing = Syncing(settings, store, console, session, ownership)
        if since_us is not None:
            return _result(syncing.recent_passes(since_us), "embedshift sync, which compares every row")
        passes = syncing.passes(whole=whole)
        before = read_migration(store, migration.id).state
        moved = {"indexed": "synced", "rolled_back": "synced", "validated": "synced"}.get(before)
        unsettled = before == "validated" and not any(each.counts.difference for each in passes)
        ownership.change(state=None if unsettled else moved)
    return _result(passes, "embedshift validate")


def _result(passes: list[Pass], following: str) -> dict[str, Any]:
    summaries = [each.summary() for each in passes]
    return {"passes": summaries, "clean": True, **passes[-1].counts.summary(), "next": following}


def parse_since(text: str) -> int:
    """A time as microseconds since the epoch: ``2h`` ago, or ``2026-11-24T02:30``, local where no zone is named.

    Raises:
        UsageError: it is neither, or to come.
    """
    try:
        since_us = now_us() - _us(parse_span(text))
    except UsageError:
        try:
            since_us = int(datetime.fromisoformat(text).timestamp() * 1e6)
        except ValueError as error:
            raise UsageError(
                f"{text!r} is no time", hint="write how long ago, such as 2h, or a time such as 2026-11-24T02:30"
            ) from error
    if since_us > now_us():
        raise UsageError(f"{text} is still to come", hint="name a time in the past")
    return since_us


def would_carry(
    settings: Settings,
    store: Store,
    console: Console,
    migration: Migration,
    *,
    backwards: bool = False,
    since_us: int | None = None,
) -> dict[str, int]:
    """Compare both tables and say how many rows a pass would carry, as they are now; nothing is written."""
    limit = orphan_limit(settings, store, migration, backwards=backwards)
    transfer = transfer_of(
        settings, store, migration, "preview", backwards=backwards, orphans_before_us=limit, since_us=since_us
    )
    table, other = migration.source.table, migration.target.table
    if backwards:
        table, other = other, table
    with spark_session(settings, "preview") as session:
        found = preview(session, transfer, plan_ranges(store, table, settings.load.ranges))
    console.say(
        f"{found.read:,} rows of {table} compared: {found.written:,} would be written to {other}, {found.deleted:,} "
        "deleted there"
    )
    return asdict(found)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the ring: what it compared, what it found, how many rows wait for the next one.

    ``compared`` is ``all``, ``change log`` or ``written since``. Rows wait that clients could not write to both tables.
    """

    compared: str
    counts: Counts
    waiting: int

    def summary(self) -> dict[str, Any]:
        """The pass as the result of a step has it."""
        return {"compared": self.compared, **self.counts.summary()}


@dataclass(frozen=True, slots=True)
class Syncing:
    """Passes of one run, from source to target or, on the way back, the other way.

    ``paced`` says whether they keep to the pace that operators set. Around a switch they do not: what readers wait for
    is not held up, and a cutover or a rollback is not left half way.
    """

    settings: Settings
    store: Store
    console: Console
    session: SparkSession
    ownership: Ownership
    backwards: bool = False
    paced: bool = True

    def passes(self, *, whole: bool = False) -> list[Pass]:
        """Passes until one is clean.

        A pass that an earlier run left unfinished is ended first; it never counts as the clean one, since ranges of it
        were compared long ago.

        Args:
            whole: the first one compares every row, whatever the change log says.
        """
        done: list[Pass] = []
        counted = 0
        while counted < self.settings.sync.passes:
            migration = read_migration(self.store, self.ownership.migration)
            resumed = bool(migration.facts.get("sync_pass_open", False))
            if not resumed:
                self._open(migration, whole=whole and not counted)
                counted += 1
            done.append(self._opened_pass())
            if self._clean(done[-1]) and not resumed:
                return done
        raise self._restless(done)

    def recent_passes(self, since_us: int) -> list[Pass]:
        """Passes over the rows written since a time, until one is clean. Deletions show only in a change log."""
        done: list[Pass] = []
        for _ in range(self.settings.sync.passes):
            forget_step(self.store, self.ownership.migration, _RECENT)
            done.append(self._pass(_RECENT, "sync of recent rows", since_us))
            if self._clean(done[-1]):
                return done
        raise self._restless(done)

    def _clean(self, done: Pass) -> bool:
        return done.counts.difference <= self.settings.sync.until and not done.waiting

    def _restless(self, done: list[Pass]) -> CheckFailed:
        return CheckFailed(
            f"the tables still differ by {done[-1].counts.difference} rows after {len(done)} passes",
            hint="run embedshift sync again, or accept a difference with sync.until",
        )

    def _open(self, migration: Migration, *, whole: bool) -> None:
        """Write down what the next pass compares, so that a run that is killed in it can be taken up."""
        self.ownership.change(
            sync_pass=int(migration.facts.get("sync_pass", 0)) + 1,
            sync_pass_open=True,
            sync_pass_us=now_us(),
            sync_since_us=None if whole else self._since(migration),
            # The way back writes the source, at times of long ago.
            compared_us=None if self.backwards else migration.facts.get("compared_us"),
        )

    def _since(self, migration: Migration) -> int | None:
        """Since when the source's change log has all that the last pass has not compared; None: it cannot tell."""
        compared_us, sync = migration.facts.get("compared_us"), self.settings.sync
        if self.backwards or compared_us is None or sync.change_log == "off":
            return None
        since_us = int(compared_us) - _us(sync.clock_skew)
        kept = now_us() - since_us < _us(sync.change_log_kept)
        return since_us if kept and self.store.keeps_changes(self.store.describe(migration.source.table)) else None

    def _opened_pass(self) -> Pass:
        facts = read_migration(self.store, self.ownership.migration).facts
        number, since_us = int(facts["sync_pass"]), facts.get("sync_since_us")
        step, name = (f"back/{number}", "sync back") if self.backwards else (f"sync/{number}", "sync")
        done = self._pass(step, f"{name}, pass {number}", since_us)
        forget_step(self.store, self.ownership.migration, step)
        compared = {} if self.backwards else {"compared_us": facts.get("sync_pass_us")}
        self.ownership.change(sync_pass_open=False, **compared)
        return done

    def _pass(self, step: str, name: str, since_us: int | None) -> Pass:
        settings, store = self.settings, self.store
        migration = read_migration(store, self.ownership.migration)
        # A row of which a client told before the pass is compared in it, and waits no longer, even where nothing can
        # mend it, such as below a newer deletion.
        told = set(read_dead_letters(store, migration.id))
        started = time.monotonic()
        transfer = transfer_of(
            settings,
            store,
            migration,
            step,
            backwards=self.backwards,
            read_back=True,
            orphans_before_us=orphan_limit(settings, store, migration, backwards=self.backwards),
            since_us=since_us,
            run=self.ownership.owner if self.paced else "",
        )
        table = migration.target.table if self.backwards else migration.source.table
        rows = progress(store, migration.id, "load").counts.read
        with (
            self.console.watching(name, rows) as watch,
            paced(self.session, store, transfer, settings.throttle, self.console.say),
        ):
            counts = run_transfer(
                self.session,
                store,
                transfer,
                plan_ranges(store, table, settings.load.ranges),
                attempts=settings.load.attempts,
                report=lambda now: watch.show(now, now.counts.read, now.counts.dead),
                still_ours=self.ownership.check,
            ).counts
        letters = settle_dead_letters(store, transfer)
        lasting = [letter for letter in letters if not letter.of_client]
        check_dead_letters(lasting, max(rows, counts.read), settings.load.tolerate_dead)
        compared = "all" if since_us is None else "change log" if transfer.by_log else "written since"
        self.console.say(_line(name, compared, counts, len(lasting), time.monotonic() - started))
        return Pass(compared, counts, sum(letter.of_client and letter not in told for letter in letters))


def _line(name: str, compared: str, counts: Counts, dead: int, seconds: float) -> str:
    rows = f"{counts.read:,} rows" + {"all": "", "change log": " of the change log"}.get(compared, " written since")
    mended = counts.written - counts.shadowed
    return (
        f"{name}: {rows} compared, {mended} mended, {counts.deleted} deleted, {counts.shadowed} shadowed, "
        f"{dead} dead, in {seconds:.1f} s"
    )


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def orphan_limit(settings: Settings, store: Store, migration: Migration, *, backwards: bool) -> int | None:
    """Before which time a row must have been written for its absence on the other side to mean that it is an orphan.

    Before the switch the source is the truth, and everything else in the target an orphan. After it each table may have
    rows of its own: what was written since the switch, less the skew of clocks, is somebody's new article.
    """
    if not backwards and get_alias(store, migration.alias).target.table != migration.target.table:
        return None
    return int(migration.facts["switched_us"]) - _us(settings.sync.clock_skew)


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["sync", *sys.argv[1:]]))
