"""The command ``plan``: the one that needs no settings file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from jobs.console import Console
from jobs.errors import UsageError
from jobs.options import AsJson, Overrides
from jobs.running import opened


def plan_(
    rows: Annotated[float | None, typer.Option(metavar="N", min=1, max=1e15, help="Rows of the table: 1e9.")] = None,
    text_bytes: Annotated[
        float | None, typer.Option("--bytes", metavar="N", min=1, help="Bytes of a text; 1,000 where nothing is known.")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(metavar="N", min=1, help="Tokens of a text, in place of --bytes: 4.5 bytes each.")
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=16_000, help="Of the new vectors; the model's, or 384.")
    ] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", min=0.001, help="Texts a worker embeds a second.")] = None,
    measured: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The rate that plan --measure --json has printed into it.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the rate here, one core, for seconds.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model to measure; that of --config, or the demo's.")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Tasks at the same time: cores, or GPUs.")] = 8,
    replicas: Annotated[int, typer.Option(metavar="N", min=1, help="Copies that the database keeps.")] = 3,
    writes: Annotated[
        float | None, typer.Option(metavar="N", min=0.001, help="Rows a second that the database takes; no limit.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(metavar="P", min=0, help="Of one worker for an hour, in any currency.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Ask this store for rows and texts.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Forecast ranges, catalog, rates, space, hours and cost of a load; no store is touched without --config."""
    from jobs.embedding.rate import Rate
    from jobs.plan import Given, plan

    if sum((rate is not None, measured is not None, measure)) > 1:
        raise UsageError("--rate, --measured and --measure each name the rate", hint="say one of them")
    if tokens is not None and text_bytes is not None:
        raise UsageError("--tokens and --bytes both name the length of a text", hint="say one of them")
    if overrides and config is None:
        raise UsageError("--set overrides a settings file, and none is named", hint="say --config FILE")
    length = tokens * 4.5 if tokens is not None else text_bytes
    given = Given(rows, length, dimension, rate, workers, replicas, writes, price)
    known = Rate.from_file(measured) if measured else None
    console = Console(as_json=as_json)
    with ExitStack() as stack:
        settings, store = stack.enter_context(opened(config, overrides)) if config else (None, None)
        console.finish(
            plan(given, console, measured=known, measure=measure, model=model, settings=settings, store=store)
        )
