"""How a command runs a step: settings read, store opened, the outcome told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from jobs.console import Console
from jobs.errors import UsageError
from jobs.settings import Settings, load_settings
from jobs.stores import open_store
from jobs.stores.contract import Store


@contextmanager
def opened(config: Path, overrides: list[str] | None) -> Iterator[tuple[Settings, Store]]:
    """The settings of a file, and their store until the block ends."""
    settings = load_settings(config, overrides or ())
    store = open_store(settings.store)
    try:
        yield settings, store
    finally:
        store.close()


def run_step(
    step: Callable[..., dict[str, Any]], config: Path, overrides: list[str] | None, as_json: bool, **options: Any
) -> None:
    """Run a step with settings, store and console, and print its result."""
    console = Console(as_json=as_json)
    with opened(config, overrides) as (settings, store):
        result = step(settings, store, console, **options)
    console.finish(result)


def ask(table: str) -> str:
    """Ask a person to type a table's name. Raises UsageError where there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="say --yes")
    return str(typer.prompt(f"type the name of the table to drop ({table})", err=True))
