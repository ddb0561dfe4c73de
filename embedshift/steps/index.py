"""Step 4, index: build the target's vector index when it has caught up, and wait until it really answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from embedshift.catalog.guard import check_not_live
from embedshift.catalog.lease import never
from embedshift.catalog.migration import get_migration
from embedshift.catalog.states import after
from embedshift.errors import CheckFailed
from embedshift.settings import IndexSettings, Settings
from embedshift.steps.context import DryRun, StepContext, StepResult
from embedshift.steps.twin import build_other_indexes
from embedshift.stores.contract import Store
from embedshift.stores.model import Index
from embedshift.times import format_duration
from embedshift.validation.index_probe import missing_from_index

#: Seconds between two checks of an index that is being built.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class IndexResult(StepResult):
    """The index that answers: its name, its vectors (None if the store cannot say), the seconds that it took."""

    index: str
    rows: int | None
    seconds: float
    next: str = "embedshift sync"


def index(context: StepContext, *, dry_run: bool = False, rebuild: bool = False) -> IndexResult | DryRun:
    """Build the index of the target; if it is ready, only check that it finds vectors of the table.

    Args:
        context: what the step works with.
        dry_run: build nothing.
        rebuild: drop it first if it is there. Nobody searches the target yet.

    Raises:
        CheckFailed: it failed, or does not find vectors of the table within ``target.index_wait``.
        SchemaError: the store cannot build it.
    """
    settings, store, console = context.settings, context.store, context.console
    migration = get_migration(store, settings)
    wanted = migration.target.index
    console.say(f"build {wanted.name} on {wanted.table}.{wanted.column}: {describe_options(wanted.options)}")
    if rebuild:
        console.say(f"drop {wanted.name} before that")
    if dry_run:
        return DryRun(index=wanted.name)
    started = time.monotonic()
    with context.owned(migration, "index") as lease:
        if rebuild:
            check_not_live(store, wanted.table, hint="embedshift reindex --in-place builds the index of a live table")
            # First: a run that is killed between the two leaves a target that has to be indexed, and no other.
            migration = lease.change(state="caught_up")
            lease.confirm()
            store.drop_index(wanted)
        store.create_index(wanted)
        wait_until_serving(store, wanted, settings, lease.check)
        build_other_indexes(context, migration)
        seconds = time.monotonic() - started
        floor_us = store.write_floor(wanted.table)
        lease.change(state=after("index", migration.state), index_seconds=seconds, indexed_from_us=floor_us)
    rows = store.index_state(wanted).rows
    vectors = "" if rows is None else f", with {rows:,} vectors"
    console.say(f"{wanted.name} is ready after {seconds:.1f} s{vectors}")
    return IndexResult(wanted.name, rows, round(seconds, 3))


def describe_options(options: IndexSettings) -> str:
    """The options of an index, as a line."""
    return ", ".join(f"{key} {value}" for key, value in options.model_dump().items() if value is not None)


def wait_until_serving(store: Store, wanted: Index, settings: Settings, still_ours: Callable[[], None] = never) -> None:
    """Wait until the store says that the index is ready, and it finds vectors of every part of the ring.

    A store may say so before its scan of the table has ended, so that alone is not enough.
    """
    deadline = time.monotonic() + settings.target.index_wait.total_seconds()
    pause = threading.Event()
    while True:
        still_ours()
        state = store.index_state(wanted)
        if state.status == "failed":
            raise CheckFailed(f"the index {wanted.name} failed: {state.reason}", hint="run embedshift index again")
        lost = missing_from_index(store, wanted) if state.status == "serving" else None
        if lost == 0:
            return
        if time.monotonic() > deadline:
            why = f" ({state.reason})" if state.reason else ""
            what = f"is {state.status}{why}" if lost is None else f"does not find {lost} articles that are in it"
            raise CheckFailed(
                f"the index {wanted.name} {what} after {format_duration(settings.target.index_wait)}",
                hint="run embedshift index again to wait longer, or raise target.index_wait",
            )
        pause.wait(_LOOK_SECONDS)
