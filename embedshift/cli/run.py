"""How a command runs a step: read settings, open the store, tell the hooks, print the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from embedshift.errors import UsageError

if TYPE_CHECKING:
    from embedshift.settings import Settings
    from embedshift.steps.context import StepContext, StepResult
    from embedshift.stores.contract import Store


@contextmanager
def opened(config: Path, overrides: list[str] | None) -> Iterator[tuple[Settings, Store]]:
    """The settings of a file, and their store until the block ends."""
    from embedshift.settings import load_settings
    from embedshift.stores import open_store
    from embedshift.telemetry.logs import plan_of, start_log

    settings = load_settings(config, overrides or ())
    start_log(plan_of(settings.log))
    with closing(open_store(settings.store)) as store:
        yield settings, store


def run_step(
    command: str,
    step: Callable[..., StepResult | Mapping[str, Any]],
    config: Path,
    overrides: list[str] | None,
    as_json: bool,
    *,
    from_file: bool = False,
    signal: bool = False,
    **options: Any,
) -> None:
    """Run a step: hooks are told of it, the log and Prometheus record it, its result is printed.

    Args:
        command: what was typed, as hooks, log and metrics carry it.
        from_file: the step begins something by what the settings file says. Other steps follow the migration that
            the alias is at, which ``upgrade`` may have begun.
        signal: the command only signals a running step: it opens no metrics port beside that step's own.
    """
    from embedshift.hooks import HookCaller
    from embedshift.monitoring.prometheus import recorded_run
    from embedshift.settings import load_settings
    from embedshift.steps.context import StepContext
    from embedshift.stores import open_store
    from embedshift.telemetry.console import Console
    from embedshift.telemetry.logs import plan_of, start_log

    console = Console(as_json=as_json)
    settings = load_settings(config, overrides or ())
    start_log(plan_of(settings.log))
    hooks = HookCaller(settings, command, console.say)
    with hooks.running(), closing(open_store(settings.store)) as store:
        context = StepContext(command, settings, store, console)
        if not from_file:
            context = _following_alias(context)
        with hooks.following(store, context.settings) as listener:
            context = context.replaced(listener=listener)
            recording = nullcontext() if signal else recorded_run(command, context.settings, store, console.say)
            with recording:
                result = step(context, **options)
    console.finish(result if isinstance(result, Mapping) else result.plain())


def run_query(
    command: str,
    query: Callable[..., Mapping[str, Any]],
    config: Path,
    overrides: list[str] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a command that only reads: no hook is told, nothing is counted, no metrics port is opened."""
    from embedshift.steps.context import StepContext
    from embedshift.telemetry.console import Console

    console = Console(as_json=as_json)
    with opened(config, overrides) as (settings, store):
        context = _following_alias(StepContext(command, settings, store, console))
        result = query(context, **options)
    console.finish(result)


def _following_alias(context: StepContext) -> StepContext:
    from embedshift.catalog.versions import settings_now

    now = settings_now(context.settings, context.store)
    if now.target.table != context.settings.target.table:
        context.console.say(
            f"embedshift upgrade has moved on to {now.target.table}: "
            f"this command works on it, not on {context.settings.target.table}"
        )
    return context.replaced(settings=now)


def ask(table: str) -> str:
    """Ask a person to type a table's name. Raises UsageError if there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="add --yes")
    try:
        return str(typer.prompt(f"type the name of the table to drop ({table})", err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None
