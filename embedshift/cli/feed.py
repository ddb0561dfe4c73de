"""Articles in from outside: a file (import), or a feed of changes (follow)."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedshift.cli.command import DryRun, command
from embedshift.cli.run import Invocation
from embedshift.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from embedshift.operations.follow import Fed

feed_app = typer.Typer()
#: Seconds between two lines about a feed that goes on.
LINE_S = 10.0


@command(feed_app, "import")
def import_(
    call: Invocation,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL, one article a line, or Parquet.")],
    dry_run: DryRun = False,
    add_columns: Annotated[
        bool, typer.Option("--add-columns", help="Add the columns that the file has and the table lacks.")
    ] = False,
) -> None:
    """Put articles into the source table, embedded with the source's model; create the table if it is missing."""
    from embedshift.operations.import_file import import_articles

    console = call.console
    with call.opened() as (settings, store):
        console.say(f"import {file} into {settings.source.table}, embedded with {settings.source.model.name}")
        if dry_run:
            console.finish({"dry_run": True, "table": settings.source.table})
            return
        imported = import_articles(settings, store, file, add_columns=add_columns)
    for line, reason in imported.faults:
        console.say(f"{file}, line {line} {reason}")
    console.say(f"imported {imported.rows:,} articles, {imported.without_text} of them without text")
    faults = [{"line": line, "reason": reason} for line, reason in imported.faults]
    console.finish({"rows": imported.rows, "faults": faults, "next": "embedshift migrate"})
    if faults:
        hint = "correct these lines and import them again"
        if imported.unknown:
            hint += f"; --add-columns adds {', '.join(sorted(imported.unknown))} to the table"
        raise CheckFailed(f"{len(faults)} lines of {file} were left out", hint=hint)


@command(feed_app)
def follow(
    call: Invocation,
    changes: Annotated[
        bool, typer.Option("--changes", help="Follow the live table's change log (CDC), not standard input.")
    ] = False,
    feed: Annotated[str, typer.Option(metavar="NAME", help="The name under which the position is kept.")] = "default",
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest change of the log.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when the log has nothing new.")] = False,
) -> None:
    """Keep vectors fresh from a feed of changes: JSON lines on standard input, or the table's change log.

    A line is {"put": ARTICLE}, {"delete": ID} or {"refresh": ID}; it may have a rising "position".
    """
    if (from_start or once) and not changes:
        raise UsageError(
            "--from-start and --once go with --changes", hint="a stream of lines starts and ends by itself"
        )
    from embedshift.articles.client import Articles
    from embedshift.catalog.setup import ensure_catalog
    from embedshift.operations.follow import counts, follow_changes, follow_lines, read_position
    from embedshift.times import to_us

    console, reported = call.console, time.monotonic()

    def report(fed: Fed) -> None:
        nonlocal reported
        if time.monotonic() - reported >= LINE_S:
            reported = time.monotonic()
            console.say(_figures(fed))

    with call.opened() as (settings, store), Articles(settings, store) as articles:
        lag_us = to_us(settings.sync.clock_skew)
        articles.live_table()  # an alias that leads nowhere is named before anything is read or made
        ensure_catalog(store)
        if changes:
            fed = follow_changes(articles, store, feed, report, lag_us=lag_us, from_start=from_start, once=once)
        else:
            fed = follow_lines(articles, store, sys.stdin.buffer, feed, report)
        position = read_position(store, settings.alias, feed)
    for line, reason in fed.faults:
        console.say(f"line {line} {reason}")
    for each in fed.refreshed.failed:
        console.say(f"article {each} cannot be embedded")
    console.say(_figures(fed))
    console.finish({**counts(fed), "position": position})
    if counts(fed)["faults"]:
        raise CheckFailed(f"{counts(fed)['faults']} events were not done", hint="correct them and send them again")


def _figures(fed: Fed) -> str:
    from embedshift.operations.follow import counts

    return ", ".join(f"{number:,} {name}" for name, number in counts(fed).items() if number) or "nothing to do"
