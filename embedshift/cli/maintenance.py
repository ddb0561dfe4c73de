"""Commands around a migration: plan it, compare both tables under load, audit the live table, change its index."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from embedshift.cli.command import AsJson, DryRun, Overrides, Yes, command
from embedshift.cli.run import Invocation, agreed
from embedshift.errors import UsageError

maintenance_app = typer.Typer()


@maintenance_app.command()
def plan(
    rows: Annotated[float | None, typer.Option(metavar="N", min=1, max=1e15, help="Rows of the table: 1e9.")] = None,
    text_bytes: Annotated[
        float | None, typer.Option("--bytes", metavar="N", min=1, help="Bytes of a text; 1,000 if unknown.")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(metavar="N", min=1, help="Tokens of a text, in place of --bytes: 4.5 bytes each.")
    ] = None,
    dimension: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=16_000, help="Dimension of the new vectors; the model's, or 384."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.001, help="Texts that a worker embeds per second.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the output of plan --measure --json.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the rate here, one core, for seconds.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model to measure; that of --config, or the demo's.")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Tasks at the same time: cores, or GPUs.")] = 8,
    replicas: Annotated[int, typer.Option(metavar="N", min=1, help="Copies that the database keeps.")] = 3,
    writes: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, help="Rows per second that the database accepts; no limit by default."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(metavar="P", min=0, help="Price of one worker per hour, in any currency.")
    ] = None,
    product: Annotated[
        Literal["scylladb", "cassandra", "embedded"] | None,
        typer.Option(
            "--store", help="Whose formula gives the index size if there is no --config; scylladb by default."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Ask this store for rows, texts, index size.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Forecast ranges, catalog, rates, space, hours and cost of a load; no store is touched without --config."""
    from embedshift.embedding.throughput import Rate
    from embedshift.operations.plan import Given
    from embedshift.operations.plan import plan as operation
    from embedshift.telemetry.console import Console

    if sum((rate is not None, measured is not None, measure)) > 1:
        raise UsageError("--rate, --measured and --measure each name the rate", hint="use one of them")
    if tokens is not None and text_bytes is not None:
        raise UsageError("--tokens and --bytes both name the length of a text", hint="use one of them")
    if overrides and config is None:
        raise UsageError("--set overrides a settings file, and none is named", hint="add --config FILE")
    if product is not None and config is not None:
        raise UsageError("--store and --config each name the store", hint="use one of them")
    length = tokens * 4.5 if tokens is not None else text_bytes
    given = Given(rows, length, dimension, rate, workers, replicas, writes, price, product)
    known = Rate.from_file(measured) if measured else None
    console = Console(as_json=as_json)
    with ExitStack() as stack:
        settings, store = (
            stack.enter_context(Invocation("plan", config, overrides, as_json).opened()) if config else (None, None)
        )
        console.finish(
            operation(given, console, measured=known, measure=measure, model=model, settings=settings, store=store)
        )


@command(maintenance_app)
def trial(
    call: Invocation,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="NAME", help="A candidate: a model's name or folder, or a YAML file of target.model."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(metavar="N", min=10, max=200_000, help="Articles to draw, beside the labelled ones.")
    ] = 5000,
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labelled questions; those of validation.questions by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="The same seed draws the same sample.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="The page; trial-ALIAS.html by default.")] = None,
    yes: Yes = False,
) -> None:
    """Is a new model worth it? Compare candidates with the live model on a sample; nothing is written to a store."""
    from embedshift.operations.trial import trial as operation

    call.query(
        operation,
        models=models or [],
        sample=sample,
        questions=questions,
        seed=seed,
        output=output,
        agree=lambda asked: yes or agreed(asked),
    )


@command(maintenance_app)
def shadow(
    call: Invocation,
    questions: Annotated[Path, typer.Option(metavar="FILE", help='Questions: a text a line, or JSONL with "text".')],
    rate: Annotated[float, typer.Option(metavar="N", min=0.01, max=1000, help="Questions per second.")] = 5,
    minutes: Annotated[float, typer.Option(metavar="M", min=0.001, max=100_000, help="How long.")] = 1,
) -> None:
    """Send questions to the live and the new table, and compare answers and latency for the report."""
    from embedshift.operations.shadow import shadow as operation

    call.step(operation, questions=questions, rate=rate, minutes=minutes)


@command(maintenance_app)
def audit(
    call: Invocation,
    repair: Annotated[bool, typer.Option("--repair", help="Compute new vectors if they are missing or wrong.")] = False,
    sample: Annotated[str, typer.Option(metavar="SHARE", help="How much of the table: 1%, or 0.01.")] = "100%",
) -> None:
    """Count rows of the live table without a good vector of their text; exit 1 if there are too many."""
    from embedshift.operations.audit import audit as operation

    call.step(operation, repair=repair, sample=sample)


@command(maintenance_app)
def reindex(
    call: Invocation,
    dry_run: DryRun = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Drop and create the live table's own index.")] = False,
    yes: Yes = False,
) -> None:
    """Give the live table's index the options of target.index; search fails while it is built."""
    from embedshift.operations.reindex import reindex as operation

    if not in_place:
        raise UsageError(
            "reindex works in place only: add --in-place",
            hint="for other options without an interruption leave target.model out and run embedshift migrate",
        )
    call.step(operation, from_file=True, dry_run=dry_run, accepted=yes)
