"""The commands that look and change nothing: ``status``, also with ``--watch``, ``serve`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.console import Console
from jobs.errors import UsageError
from jobs.options import AsJson, Config, Overrides, parse_span
from jobs.running import opened, run_step


def status(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Between two looks; 2s on a terminal and 10s elsewhere where left out."),
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when nothing has run for as long as cutover.lease.")
    ] = False,
) -> None:
    """Show what is live, what is running and how far it is."""
    if not watch:
        if every or until_done:
            raise UsageError("--every and --until-done are for status --watch", hint="add --watch")
        from jobs.status import status as step

        run_step(step, config, overrides, as_json)
        return
    from jobs.watch import watch as looking

    span = None if every is None else parse_span(every)
    if span is not None and not span:
        raise UsageError(f"{every} is no time between two looks", hint="write 2s, or 500ms")
    console = Console(as_json=as_json)
    with opened(config, overrides) as (settings, store):
        last = looking(settings, store, console, every=span, until_done=until_done)
    if not as_json:  # as JSON every look was an object of its own
        console.finish(last)


def serve(
    config: Config,
    overrides: Overrides = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 takes any that is free.")] = 8765,
) -> None:
    """Show the same as status --watch as a page for browsers, until Ctrl-C; it can only be read."""
    from jobs.serve import serve as step

    console = Console()
    with opened(config, overrides) as (settings, store):
        step(settings, store, console, host=host, port=port)


def report(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    form: Annotated[Literal["html", "markdown", "json"], typer.Option("--format", help="What to write.")] = "html",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to; - for standard output. Beside validation.report where left out."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    every: Annotated[bool, typer.Option("--list", help="List every validation, and write nothing.")] = False,
    migration: Annotated[str | None, typer.Option(metavar="ID", help="Of that migration.")] = None,
    number: Annotated[int | None, typer.Option(metavar="N", help="That validation of it; 1 is the oldest.")] = None,
) -> None:
    """Write the report of a validation as a page for people, and say its verdict."""
    from jobs.report import history
    from jobs.report import report as step

    if every:
        run_step(history, config, overrides, as_json, migration=migration)
        return
    options = {"form": form, "output": output, "migration": migration, "number": number, "show": show}
    run_step(step, config, overrides, as_json, **options)
