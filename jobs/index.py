"""Step 3, index: build the target's vector index after the load, and wait until it really answers."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from jobs.catalog.migration import get_migration, owned
from jobs.console import Console
from jobs.errors import CheckFailed
from jobs.quality.known import missing_from_index
from jobs.settings import IndexSettings, Settings, format_duration
from jobs.stores.contract import Index, Store

#: Seconds between two looks at an index that is being built.
_LOOK_SECONDS = 0.5


def index(settings: Settings, store: Store, console: Console, *, dry_run: bool = False) -> dict[str, Any]:
    """Build the index of the target; found serving, it is only asked for known vectors.

    Raises:
        CheckFailed: it failed, or does not answer for known vectors within ``target.index_wait``.
        SchemaError: the store cannot build it.
    """
    migration = get_migration(store, settings)
    wanted = migration.target.index
    console.say(f"build {wanted.name} on {wanted.table}.{wanted.column}: {describe_options(wanted.options)}")
    if dry_run:
        return {"dry_run": True, "index": wanted.name}
    started = time.monotonic()
    with owned(store, migration, "index", settings.cutover.lease) as ownership:
        store.create_index(wanted)
        wait_until_serving(store, wanted, settings, ownership.check)
        seconds = time.monotonic() - started
        ownership.change(state="indexed" if migration.state == "loaded" else None, index_seconds=seconds)
    rows = store.index_state(wanted).rows
    console.say(
        f"{wanted.name} serves" + (f" {rows:,} vectors" if rows is not None else "") + f" after {seconds:.1f} s"
    )
    return {"index": wanted.name, "rows": rows, "seconds": round(seconds, 3), "next": "embedshift sync"}


def describe_options(options: IndexSettings) -> str:
    """The options of an index, as a line."""
    return ", ".join(f"{key} {value}" for key, value in options.model_dump().items() if value is not None)


def wait_until_serving(store: Store, wanted: Index, settings: Settings, still_ours: Any = lambda: None) -> None:
    """Wait until the store says that the index serves, and until it finds known vectors of every part of the ring.

    A store's own word has been wrong before the scan behind it had ended, so it is not enough.
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
            what = f"is {state.status}" if lost is None else f"does not find {lost} known vectors"
            raise CheckFailed(
                f"the index {wanted.name} {what} after {format_duration(settings.target.index_wait)}",
                hint="run embedshift index again to go on waiting, or raise target.index_wait",
            )
        pause.wait(_LOOK_SECONDS)


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["index", *sys.argv[1:]]))
