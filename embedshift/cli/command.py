"""A command of the command line: its own options, and the three that every command with a settings file has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedshift.cli.run import opened, run_query, run_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embedshift.settings import Settings
    from embedshift.steps.context import StepResult
    from embedshift.stores.contract import Store
    from embedshift.telemetry.console import Console

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; lines for people go to standard error.")]
_Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="EMBEDSHIFT_CONFIG", metavar="FILE", help="The settings file (YAML).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override one setting; may be repeated.")
]


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
        with opened(self.config, self.overrides) as both:
            yield both

    def step(self, step: Callable[..., StepResult | Mapping[str, Any]], **options: Any) -> None:
        """Run a step; see ``run.run_step``."""
        run_step(self.command, step, self.config, self.overrides, self.as_json, **options)

    def query(self, query: Callable[..., Mapping[str, Any]], **options: Any) -> None:
        """Run what only reads; see ``run.run_query``."""
        run_query(self.command, query, self.config, self.overrides, self.as_json, **options)


def command(
    app: typer.Typer, name: str | None = None, *, json: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first parameter is an ``Invocation``, and the others its own options.

    Args:
        app: gets the command.
        name: the function's own by default.
        json: whether it has ``--json``.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        def invoke(
            ctx: typer.Context, config: Path, overrides: list[str] | None = None, as_json: bool = False, **options: Any
        ) -> None:
            # The path of ``embedshift dead-letters drop`` less the program's own name.
            typed = ctx.command_path.removeprefix(ctx.find_root().command_path).strip()
            function(Invocation(typed, config, overrides, as_json), **options)

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter("ctx", keyword, annotation=typer.Context),
            inspect.Parameter("config", keyword, annotation=_Config),
            inspect.Parameter("overrides", keyword, default=None, annotation=Overrides),
            *([inspect.Parameter("as_json", keyword, default=False, annotation=AsJson)] if json else []),
        ]
        parameters = [*shared, *(each.replace(kind=keyword) for each in own)]
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {each.name: each.annotation for each in parameters}
        invoke.__doc__, invoke.__name__ = function.__doc__, function.__name__
        app.command(name or function.__name__)(invoke)
        return function

    return decorate
