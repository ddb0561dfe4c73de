"""Watching a migration (status, serve, report), and slowing it down (pause, resume, throttle)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from embedshift.cli.command import command
from embedshift.cli.run import Invocation
from embedshift.errors import UsageError

monitor_app = typer.Typer()


@command(monitor_app)
def status(
    call: Invocation,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Time between two refreshes; by default 2s on a terminal, else 10s."),
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when nothing has run for as long as cutover.lease.")
    ] = False,
) -> None:
    """Show what is live, what is running and how far it is."""
    if not watch:
        if every or until_done:
            raise UsageError("--every and --until-done are for status --watch", hint="add --watch")
        from embedshift.operations.status import status as query

        call.query(query)
        return
    from embedshift.operations.watch import watch as keep_watching
    from embedshift.times import parse_duration

    span = None if every is None else parse_duration(every)
    if span is not None and not span:
        raise UsageError(f"{every} is not a valid time between two refreshes", hint="write 2s, or 500ms")
    console = call.console
    with call.opened() as (settings, store):
        last = keep_watching(settings, store, console, every=span, until_done=until_done)
    if not call.as_json:  # as JSON every refresh was an object of its own
        console.finish(last)


@command(monitor_app, json=False)
def serve(
    call: Invocation,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 takes any free port.")] = 8765,
) -> None:
    """Show the same as status --watch as a read-only page for browsers, until Ctrl-C."""
    from embedshift.operations.watch import serve as operation

    console = call.console
    with call.opened() as (settings, store):
        operation(settings, store, console, host=host, port=port)


@command(monitor_app)
def report(
    call: Invocation,
    form: Annotated[Literal["html", "markdown", "json"], typer.Option("--format", help="What to write.")] = "html",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file; - for standard output; by default beside validation.report."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    every: Annotated[bool, typer.Option("--list", help="List every validation, and write nothing.")] = False,
    migration: Annotated[
        str | None, typer.Option(metavar="ID", help="The migration whose validations are meant.")
    ] = None,
    number: Annotated[
        int | None, typer.Option(metavar="N", help="Which validation of the migration; 1 is the oldest.")
    ] = None,
) -> None:
    """Write the report of a validation as a page for people, and print its verdict."""
    from embedshift.operations.report import history
    from embedshift.operations.report import report as query

    if every:
        call.query(history, migration=migration)
        return
    options = {"form": form, "output": output, "migration": migration, "number": number, "show": show}
    call.query(query, **options)


@command(monitor_app)
def pause(call: Invocation) -> None:
    """Stop load and sync within five seconds, wherever they run, and keep them stopped until resume."""
    from embedshift.operations.throttle import pause as operation

    call.step(operation, signal=True)


@command(monitor_app)
def resume(call: Invocation) -> None:
    """Let a paused migration continue."""
    from embedshift.operations.throttle import resume as operation

    call.step(operation, signal=True)


@command(monitor_app)
def throttle(
    call: Invocation,
    rows_per_second: Annotated[
        float | None, typer.Option(metavar="N", min=0.01, help="Maximum rows per second of the whole run.")
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.01, help="Slow down while the p99 of the store's writes is above this."),
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS", help="Write rows only in this window: 22:00-06:00, or 22:00-06:00 Europe/Berlin."
        ),
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(metavar="N", min=0.01, help="Maximum requests per minute to an embedding service.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option(metavar="N", min=1, help="Maximum tokens per minute to an embedding service.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No limits, not even those of the settings.")] = False,
    as_settings: Annotated[
        bool, typer.Option("--as-settings", help="The limits of the settings; forget what was set here.")
    ] = False,
) -> None:
    """Limit how fast load and sync go, within five seconds, for any number of workers; every limit applies."""
    from embedshift.operations.throttle import throttle as operation

    call.step(
        operation,
        signal=True,
        rows_per_second=rows_per_second,
        max_latency_ms=max_latency_ms,
        between=between,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        off=off,
        as_settings=as_settings,
    )
