"""One call of a command: its settings and store, and how it runs a step and prints the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift.errors import UsageError
from embedshift.telemetry.terminal import stderr

if TYPE_CHECKING:
    from embedshift.settings import Settings
    from embedshift.steps.context import StepContext, StepResult
    from embedshift.stores.contract import Store
    from embedshift.telemetry.console import Console


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a command: what was typed, and the options that all commands share."""

    command: str
    config: Path
    overrides: list[str] | None
    as_json: bool

    @property
    def console(self) -> Console:
        """Where the command reports."""
        from embedshift.telemetry.console import Console

        return Console(as_json=self.as_json)

    def settings(self) -> Settings:
        """The settings of the file, with what ``--set`` overrides."""
        from embedshift.settings import load_settings

        return load_settings(self.config, self.overrides or ())

    @contextmanager
    def opened(self) -> Iterator[tuple[Settings, Store]]:
        """The settings, and their store until the block ends."""
        settings = self.settings()
        with self._store(settings) as store:
            yield settings, store

    @contextmanager
    def _store(self, settings: Settings) -> Iterator[Store]:
        from embedshift.stores import open_store
        from embedshift.telemetry.logs import plan_of, start_log

        start_log(plan_of(settings.log))
        with closing(open_store(settings.store)) as store:
            yield store

    def step(
        self,
        step: Callable[..., StepResult | Mapping[str, Any]],
        *,
        from_file: bool = False,
        signal: bool = False,
        **options: Any,
    ) -> None:
        """Run a step: hooks are told of it, the log and Prometheus record it, its result is printed.

        Args:
            from_file: the step begins something by what the settings file says. Other steps follow the migration that
                the alias is at, which ``upgrade`` may have begun.
            signal: the command only signals a running step: it leaves the metrics port and file to that step.
        """
        from embedshift.catalog.setup import take_over_former
        from embedshift.hooks import HookCaller
        from embedshift.monitoring.prometheus import recorded_run
        from embedshift.steps.context import StepContext

        console, settings = self.console, self.settings()
        hooks = HookCaller(settings, self.command, console.say)
        with hooks.running(), self._store(settings) as store:
            context = StepContext(self.command, settings, store, console)
            if not options.get("dry_run"):
                take_over_former(store)
            if not from_file:
                context = _following_alias(context)
            with hooks.following(store, context.settings) as listener:
                context = context.replaced(listener=listener)
                with recorded_run(self.command, context.settings, store, console.say, signal=signal):
                    result = step(context, **options)
        console.finish(result if isinstance(result, Mapping) else result.plain())

    def query(self, query: Callable[..., Mapping[str, Any]], **options: Any) -> None:
        """Run a command that only reads: no hook is told, nothing is counted, no metrics port is opened."""
        from embedshift.steps.context import StepContext

        with self.opened() as (settings, store):
            context = _following_alias(StepContext(self.command, settings, store, self.console))
            result = query(context, **options)
        context.console.finish(result)


def _following_alias(context: StepContext) -> StepContext:
    from embedshift.catalog.versions import settings_now

    now = settings_now(context.settings, context.store)
    if now.target.table != context.settings.target.table:
        context.console.say(
            f"embedshift upgrade has moved on to {now.target.table}: "
            f"this command works on it, not on {context.settings.target.table}"
        )
    return context.replaced(settings=now)


def agreed(question: str) -> bool:
    """Ask a person yes or no; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=stderr(), flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask(table: str) -> str:
    """Ask a person to type a table's name. Raises UsageError if there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="add --yes")
    print(f"type the name of the table to drop ({table}): ", end="", file=stderr(), flush=True)
    answer = sys.stdin.readline()
    if not answer:  # the end of the input, which is how people leave
        raise KeyboardInterrupt
    return answer.strip()
