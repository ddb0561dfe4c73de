"""The whole way: prepare, load, index, sync, validate, cutover; taken up where an earlier run has left it."""

from __future__ import annotations

import sys
import time
from typing import Any

from jobs.catalog.migration import get_migration
from jobs.console import Console
from jobs.cutover import cutover
from jobs.errors import StateError, UsageError
from jobs.index import index
from jobs.load import load
from jobs.prepare import prepare
from jobs.settings import Settings
from jobs.spark.session import spark_session
from jobs.stores.contract import Store
from jobs.sync import sync
from jobs.validate import validate

#: The steps in their order, and the states after which each has nothing left to do.
_STEPS = (
    (prepare, ("prepared", "loaded", "indexed", "synced", "validated", "switching")),
    (load, ("loaded", "indexed", "synced", "validated", "switching")),
    (index, ("indexed", "synced", "validated", "switching")),
    (sync, ("switching",)),
    (validate, ("switching",)),
    (cutover, ()),
)


def migrate(
    settings: Settings, store: Store, console: Console, *, dry_run: bool = False, until: str = "cutover"
) -> dict[str, Any]:
    """Run the steps in order, up to ``until``; what is done already is not done again.

    Raises:
        UsageError: there is no step ``until``.
        StateError: the migration was rolled back, so that somebody must decide first.
    """
    names = [step.__name__ for step, _ in _STEPS]
    if until not in names:
        raise UsageError(f"migrate has no step {until}", hint=f"--until takes one of {', '.join(names)}")
    result: dict[str, Any] = {"steps": {}}
    if dry_run:
        console.say(f"migrate runs {', '.join(names)}, up to {until}")
        return {"dry_run": True, "prepare": prepare(settings, store, console, dry_run=True)}
    started = time.monotonic()
    console.title("prepare")
    result["steps"]["prepare"] = prepare(settings, store, console)
    migration = get_migration(store, settings)
    state = migration.state
    if state == "switched":
        console.say("the alias is on the new table already")
        return {**result, "next": "embedshift retire"}
    if state in ("rolled_back", "rolling_back", "aborting", "retired"):
        raise StateError(
            f"the migration is {state.replace('_', ' ')}", hint="go on step by step, once the reason is mended"
        )
    embeds = state == "prepared" and not migration.copies_vectors
    with spark_session(settings, "migrate", model=migration.target.model if embeds else None):
        for step, done in _STEPS[1 : names.index(until) + 1]:
            if get_migration(store, settings).state not in done:
                console.title(step.__name__)
                result["steps"][step.__name__] = step(settings, store, console)
    last = list(result["steps"].values())[-1]
    result["seconds"] = round(time.monotonic() - started, 3)
    return {**result, "next": last.get("next", "")}


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["migrate", *sys.argv[1:]]))
