"""How a command runs a step: settings read, store opened, hooks told, the outcome printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import typer

from jobs.catalog.versions import settings_now
from jobs.console import Console
from jobs.errors import UsageError
from jobs.hooks.telling import Telling
from jobs.logs import plan_of, start_log
from jobs.settings import Settings, load_settings
from jobs.stores import open_store
from jobs.stores.contract import Store
from jobs.watching.recording import recorded_run

#: Steps that begin something by what the settings file says. The others follow the migration that the alias is at.
_BY_THE_FILE = ("prepare", "migrate", "upgrade", "reindex")


@contextmanager
def opened(config: Path, overrides: list[str] | None) -> Iterator[tuple[Settings, Store]]:
    """The settings of a file, and their store until the block ends."""
    settings = load_settings(config, overrides or ())
    start_log(plan_of(settings.log))
    store = open_store(settings.store)
    try:
        yield settings, store
    finally:
        store.close()


def run_step(
    step: Callable[..., dict[str, Any]], config: Path, overrides: list[str] | None, as_json: bool, **options: Any
) -> None:
    """Run a step with settings, store and console, tell the hooks, and print its result."""
    console = Console(as_json=as_json)
    settings = load_settings(config, overrides or ())
    start_log(plan_of(settings.log))
    telling = Telling(settings, step.__name__, console.say)
    with telling.open(), closing(open_store(settings.store)) as store:
        if step.__name__ not in _BY_THE_FILE:
            settings = _followed(settings, store, console)
        with telling.following(store, settings), recorded_run(step.__name__, settings, store, console.say):
            result = step(settings, store, console, **options)
    console.finish(result)


def _followed(settings: Settings, store: Store, console: Console) -> Settings:
    now = settings_now(settings, store)
    if now.target.table != settings.target.table:
        console.say(f"embedshift upgrade has gone on to {now.target.table}: that is meant, not {settings.target.table}")
    return now


def ask(table: str) -> str:
    """Ask a person to type a table's name. Raises UsageError where there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="say --yes")
    try:
        return str(typer.prompt(f"type the name of the table to drop ({table})", err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None
