"""Steps 3 and 5, sync: compare source and target range by range and repair what differs, until a pass finds nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from pyspark import SparkContext

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.lease import Lease
from embedshift.catalog.ledger import HOUR_US, forget_hours
from embedshift.catalog.migration import Migration, get_migration, read_migration
from embedshift.catalog.ranges import Counts, forget_step, progress
from embedshift.catalog.states import after, check_step, next_command
from embedshift.errors import CheckFailed
from embedshift.spark.aggregate import count_unshared, preview
from embedshift.spark.dead_letters import check_dead_letters, settle_dead_letters
from embedshift.spark.ranges import plan_ranges
from embedshift.spark.run import run_transfer
from embedshift.spark.throttle_driver import throttled
from embedshift.spark.transfer import transfer_of
from embedshift.steps.context import DryRun, StepContext, StepResult
from embedshift.times import now_us, parse_since, to_us

#: The step under which the ranges of ``sync --since`` are kept while it runs.
_RECENT = "sync/since"


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
class SyncResult(StepResult):
    """The passes of a sync; the last one was clean."""

    passes: tuple[Pass, ...]
    next: str

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        passes = [each.summary() for each in self.passes]
        return {"passes": passes, "clean": True, **self.passes[-1].counts.summary(), "next": self.next}


def sync(
    context: StepContext, *, dry_run: bool = False, since: str | None = None, whole: bool = True
) -> SyncResult | DryRun:
    """Repeat passes until one finds no difference above ``sync.until``.

    Args:
        context: what the step works with.
        dry_run: compare once, and change nothing.
        since: compare only rows written since then (``parse_since``); the state stays, since this proves nothing.
        whole: the first pass compares every row, whatever a change log says.

    Raises:
        CheckFailed: the table still differs after ``sync.passes``, a range failed every attempt, or too many rows are
            dead.
        StateError, OwnedByAnother: the state forbids it, or another run does it.
    """
    migration = get_migration(context.store, context.settings)
    since_us = None if since is None else parse_since(since)
    context.console.say(f"compare {migration.source.table} with {migration.target.table} and repair what differs")
    if dry_run:
        check_step("sync", migration.state, migration.id)
        return DryRun(**would_carry(context, migration, since_us=since_us))
    if since_us is not None:
        return _sync_recent(context, migration, since_us)
    return sync_until_clean(context, migration, whole=whole)


def sync_until_clean(context: StepContext, migration: Migration, *, whole: bool = True) -> SyncResult:
    """Passes over the whole ring until one is clean, and the state that follows."""
    with context.owned(migration, "sync") as lease, context.spark(migration.id) as spark:
        passes = Syncing(context, spark, lease).passes(whole=whole)
        before = read_migration(context.store, migration.id).state
        unsettled = before == "validated" and not any(each.counts.difference for each in passes)
        changed = lease.change(state=None if unsettled else after("sync", before))
    return SyncResult(tuple(passes), next_command(changed.state))


def _sync_recent(context: StepContext, migration: Migration, since_us: int) -> SyncResult:
    with context.owned(migration, "sync") as lease, context.spark(migration.id) as spark:
        passes = Syncing(context, spark, lease).recent_passes(since_us)
    return SyncResult(tuple(passes), "embedshift sync, which compares every row")


def would_carry(
    context: StepContext, migration: Migration, *, backwards: bool = False, since_us: int | None = None
) -> dict[str, int]:
    """Compare both tables and count the rows that a pass would write or delete now; nothing is written."""
    settings, store = context.settings, context.store
    transfer = transfer_of(settings, store, migration, "preview", backwards=backwards, since_us=since_us)
    table, other = migration.source.table, migration.target.table
    if backwards:
        table, other = other, table
    with context.spark(migration.id) as spark:
        found = preview(spark, transfer, plan_ranges(store, table, settings.load.ranges))
    context.console.say(
        f"{found.read:,} rows of {table} compared: {found.written:,} would be written to {other}, {found.deleted:,} "
        "deleted there"
    )
    return {"read": found.read, "written": found.written, "deleted": found.deleted}


def left_behind(context: StepContext, migration: Migration) -> int:
    """How many rows have been written to the old table since the switch, with values that the new one lacks.

    Without those that were in both, and were deleted in the new one: it was the live one then, whatever it is now.
    """
    settings, store = context.settings, context.store
    since_us = (migration.facts.switched_us or 0) - to_us(settings.sync.clock_skew)
    transfer = transfer_of(settings, store, migration, "preview", since_us=since_us, orphans_before_us=since_us)
    transfer = replace(transfer, into_live=True)
    ranges = plan_ranges(store, migration.source.table, settings.load.ranges)
    with context.spark(migration.id) as spark:
        return count_unshared(spark, transfer, ranges)


@dataclass(frozen=True, slots=True)
class Syncing:
    """Passes of one run, from source to target or, for a rollback, the other way.

    ``throttled`` says whether they keep to the limits that operators set. Around a switch they do not: what readers
    wait for is not held up, and a cutover or a rollback is not left half way.
    """

    context: StepContext
    spark: SparkContext
    lease: Lease
    backwards: bool = False
    throttled: bool = True

    def passes(self, *, whole: bool = False) -> list[Pass]:
        """Passes until one is clean.

        A pass that an earlier run left unfinished is ended first. It never counts as the clean one, since ranges of it
        were compared long ago.

        Args:
            whole: the first one compares every row, whatever the change log says.
        """
        done: list[Pass] = []
        counted, written_s = 0, float("-inf")
        while counted < self.context.settings.sync.passes:
            migration = self._migration()
            resumed = migration.facts.sync_pass_open
            if not resumed:
                self._open(migration, whole=whole and not counted)
                counted += 1
            began_s = time.monotonic()
            done.append(self._opened_pass())
            if not self._clean(done[-1]) or resumed:
                written_s = time.monotonic()
            elif began_s - written_s >= self._settles_s:
                return done
            else:
                threading.Event().wait(max(0.0, written_s + self._settles_s - time.monotonic()))
        raise self._still_different(done)

    def recent_passes(self, since_us: int) -> list[Pass]:
        """Passes over the rows written since a time, until one is clean. Deletions show only in a change log."""
        done: list[Pass] = []
        for _ in range(self.context.settings.sync.passes):
            forget_step(self.context.store, self.lease.migration, _RECENT)
            done.append(self._pass(_RECENT, "sync of recent rows", since_us))
            if self._clean(done[-1]):
                return done
        raise self._still_different(done)

    def _migration(self) -> Migration:
        return read_migration(self.context.store, self.lease.migration)

    def _clean(self, done: Pass) -> bool:
        return done.counts.difference <= self.context.settings.sync.until and not done.waiting

    @property
    def _settles_s(self) -> float:
        """How long after a pass that wrote a clean one must begin, in seconds.

        Where a log feeds the index, vectors are written at the present time, and a write of an application that is
        under way may still end under one. Elsewhere a vector has the time of its text, and what is later stays above.
        """
        context, migration = self.context, self._migration()
        into = migration.source if self.backwards else migration.target
        if context.store.write_floor(into.table) is None:
            return 0.0
        return (context.settings.sync.clock_skew + context.settings.store.request_timeout).total_seconds()

    def _still_different(self, done: list[Pass]) -> CheckFailed:
        return CheckFailed(
            f"the tables still differ by {done[-1].counts.difference} rows after {len(done)} passes",
            hint="run embedshift sync again, or accept a difference with sync.until",
        )

    def _open(self, migration: Migration, *, whole: bool) -> None:
        """Write down what the next pass compares, so that a run that is killed in it can be resumed."""
        self._forget_settled(migration)
        self.lease.change(
            sync_pass=migration.facts.sync_pass + 1,
            sync_pass_open=True,
            sync_pass_us=now_us(),
            sync_since_us=None if whole else self._since(migration),
            # A rollback writes the source, at times of long ago.
            compared_us=None if self.backwards else migration.facts.compared_us,
        )

    def _forget_settled(self, migration: Migration) -> None:
        """Before the switch, rows that are older than the pass need no entry in the ledger: the switch will decide."""
        facts = migration.facts
        if facts.switched_us is None:
            since_us = facts.compared_us or migration.created_us
            skew_us = to_us(self.context.settings.sync.clock_skew)
            forget_hours(self.context.store, migration.id, since_us - skew_us - HOUR_US, now_us() - skew_us)

    def _since(self, migration: Migration) -> int | None:
        """Since when the source's change log has all that the last pass has not compared; None: it cannot tell."""
        compared_us, sync = migration.facts.compared_us, self.context.settings.sync
        if self.backwards or compared_us is None or sync.change_log == "off":
            return None
        since_us, store = compared_us - to_us(sync.clock_skew), self.context.store
        source = store.describe(migration.source.table)
        if not store.keeps_changes(source):
            return None
        lacks = store.lacks_changes(source, since_us)
        if not lacks and now_us() - since_us >= to_us(sync.change_log_kept):
            lacks = "sync.change_log_kept has passed since the last pass"
        if lacks:
            self.context.console.say(f"every row is compared: {lacks}")
        return None if lacks else since_us

    def _opened_pass(self) -> Pass:
        facts = self._migration().facts
        number = facts.sync_pass
        step, name = (f"back/{number}", "sync back") if self.backwards else (f"sync/{number}", "sync")
        done = self._pass(step, f"{name}, pass {number}", facts.sync_since_us)
        # A run that lost its lease meanwhile must not forget the ranges of the one that goes on with this pass.
        self.lease.confirm()
        forget_step(self.context.store, self.lease.migration, step)
        compared_us = facts.compared_us if self.backwards else facts.sync_pass_us
        self.lease.change(sync_pass_open=False, compared_us=compared_us)
        return done

    def _pass(self, step: str, name: str, since_us: int | None) -> Pass:
        settings, store, console = self.context.settings, self.context.store, self.context.console
        migration = self._migration()
        # A row of which a client told before the pass is compared in it, and waits no longer, even if nothing can
        # repair it, such as below a newer deletion.
        told = set(read_dead_letters(store, migration.id))
        started = time.monotonic()
        transfer = transfer_of(
            settings,
            store,
            migration,
            step,
            backwards=self.backwards,
            read_back=True,
            since_us=since_us,
            owner=self.lease.owner,
            throttled=self.throttled,
        )
        table = migration.target.table if self.backwards else migration.source.table
        rows = progress(store, migration.id, "load").counts.read
        with (
            console.watching(name, rows) as watch,
            throttled(self.spark, store, transfer, settings.throttle, console.say),
        ):
            counts = run_transfer(
                self.spark,
                store,
                transfer,
                plan_ranges(store, table, settings.load.ranges),
                attempts=settings.load.attempts,
                report=watch.show,
                still_ours=self.lease.check,
            ).counts
        letters = settle_dead_letters(store, transfer)
        lasting = [letter for letter in letters if not letter.of_client]
        check_dead_letters(lasting, max(rows, counts.read), settings.load.tolerate_dead)
        compared = "all" if since_us is None else "change log" if transfer.by_log else "written since"
        console.say(_line(name, compared, counts, len(lasting), time.monotonic() - started))
        return Pass(compared, counts, sum(letter.of_client and letter not in told for letter in letters))


def _line(name: str, compared: str, counts: Counts, dead: int, seconds: float) -> str:
    rows = f"{counts.read:,} rows" + {"all": "", "change log": " of the change log"}.get(compared, " written since")
    repaired = counts.written - counts.shadowed
    return (
        f"{name}: {rows} compared: {repaired} repaired, {counts.deleted} deleted, "
        f"{counts.shadowed} hidden by newer deletes, {dead} dead, in {seconds:.1f} s"
    )
