"""A command of the command line: its own options, and the three that every command with a settings file has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from embedshift.cli.run import Invocation

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; lines for people go to standard error.")]
_Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="EMBEDSHIFT_CONFIG", metavar="FILE", help="The settings file (YAML).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override one setting; may be repeated.")
]


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
