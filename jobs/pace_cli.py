"""The commands that an operator gives to a running migration."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.options import AsJson, Config, Overrides
from jobs.running import run_step

#: Without a name of its own: its commands stand beside the steps.
pace_app = typer.Typer()


@pace_app.command()
def pause(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Stop load and sync within five seconds, wherever they run, and keep them stopped until resume."""
    from jobs.pace import pause as step

    run_step(step, config, overrides, as_json)


@pace_app.command()
def resume(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Let a paused migration go on."""
    from jobs.pace import resume as step

    run_step(step, config, overrides, as_json)


@pace_app.command()
def throttle(
    config: Config,
    rows_per_second: Annotated[
        float | None, typer.Option(metavar="N", min=0.01, help="Most rows a second of the whole run.")
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.01, help="Slow down while the p99 of the store's writes is above this."),
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(metavar="HOURS", help="Carry rows only then: 22:00-06:00, or 22:00-06:00 Europe/Berlin."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No limits, not even those of the settings.")] = False,
    as_settings: Annotated[
        bool, typer.Option("--as-settings", help="The limits of the settings, and nothing that was said here.")
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Limit how fast load and sync go, within five seconds, whatever the number of workers; limits add up."""
    from jobs.pace import throttle as step

    options = {"rows_per_second": rows_per_second, "max_latency_ms": max_latency_ms, "between": between}
    run_step(step, config, overrides, as_json, **options, off=off, as_settings=as_settings)
