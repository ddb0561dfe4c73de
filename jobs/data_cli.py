"""Commands that are no steps: articles in and questions out, and what stands in settings, tables and dead letters."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.articles.client import Articles
from jobs.articles.deactivating import DEACTIVATED, add_soft_delete
from jobs.articles.feeding import Fed, counts, follow_changes, follow_lines
from jobs.catalog.feeds import read_position
from jobs.catalog.tables import ensure_catalog
from jobs.console import Console
from jobs.errors import CheckFailed, UsageError
from jobs.options import AsJson, Config, DryRun, Overrides
from jobs.running import opened, run_step
from jobs.settings import Settings, load_settings

config_app = typer.Typer(help="Explain a settings file, or print its JSON Schema.", no_args_is_help=True)
schema_app = typer.Typer(help="Create or show the tables.", no_args_is_help=True)
#: Seconds between two lines about a feed that goes on.
_LINE_SECONDS = 10.0
letters_app = typer.Typer(help="Rows that could not be embedded or written.", no_args_is_help=True)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL, one article a line, or Parquet.")],
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    add_columns: Annotated[
        bool, typer.Option("--add-columns", help="Give the table the columns of the file that it lacks.")
    ] = False,
) -> None:
    """Put articles into the source table, embedded with the source's model; the table is made where it is missing."""
    from jobs.articles.importing import import_articles

    console = Console(as_json=as_json)
    with opened(config, overrides) as (settings, store):
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
        hint = "mend these lines and import them again"
        if imported.unknown:
            hint += f"; --add-columns gives the table {', '.join(sorted(imported.unknown))}"
        raise CheckFailed(f"{len(faults)} lines of {file} were left out", hint=hint)


def search(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    config: Config,
    k: Annotated[int, typer.Option("-k", metavar="N", help="How many articles, 1 to 1000.")] = 10,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find articles through the alias, with the model that the alias names."""
    from jobs.articles.searching import search as find
    from jobs.catalog.alias import get_alias

    with opened(config, overrides) as (settings, store):
        alias = get_alias(store, settings.alias)
        found = find(store, alias, question, k)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False))
        return
    console = Console()
    for place, each in enumerate(found, 1):
        console.say(f"{place:>3}  {each.score:.4f}  {each.title or each.id}")
    console.say(f"from {alias.target.table} by {alias.target.model.name}")


@letters_app.command("list")
def letters_list(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show every dead letter: key, step, tries, reason."""
    from jobs.dead_letters import list_dead_letters as step

    run_step(step, config, overrides, as_json)


@letters_app.command("retry")
def letters_retry(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Embed and write their rows once more; exit 1 where some are dead still."""
    from jobs.dead_letters import retry as step

    run_step(step, config, overrides, as_json)


@letters_app.command("drop")
def letters_drop(
    config: Config,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Keys as the list shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Forget dead letters; their rows stay missing, and validation counts them."""
    from jobs.dead_letters import drop as step

    if bool(ids) == every:
        raise UsageError("name the letters to forget, or say --all", hint="see embedshift dead-letters list")
    run_step(step, config, overrides, as_json, ids=ids or (), every=every)


@config_app.command("check")
def config_check(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Read a settings file and say what each key is, with the default where the file is silent."""
    from jobs.explain import explain

    settings = load_settings(config, overrides or ())
    if as_json:
        typer.echo(settings.model_dump_json())
        return
    for line in explain(settings):
        typer.echo(line)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of settings files, for editors."""
    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


@schema_app.command("apply")
def schema_apply(config: Config, overrides: Overrides = None, as_json: AsJson = False, dry_run: DryRun = False) -> None:
    """Create keyspaces, the live table with its index, and the catalog, where they are missing."""
    from jobs.articles.schema import apply

    console = Console(as_json=as_json)
    with opened(config, overrides) as (settings, store):
        console.say(f"create what is missing of {settings.source.table} and the catalog in {store.label}")
        if dry_run:
            console.finish({"dry_run": True})
            return
        applied = apply(settings, store)
    created = [f"keyspace {name}" for name in applied.keyspaces] + [f"table {name}" for name in applied.tables]
    console.say(f"created {', '.join(created)}" if created else "everything is there already")
    console.finish({**asdict(applied), "next": "embedshift import FILE.jsonl"})


@schema_app.command("show")
def schema_show(config: Config, overrides: Overrides = None) -> None:
    """Show the tables of these settings and of the catalog."""
    from jobs.articles.schema import show

    with opened(config, overrides) as (settings, store):
        for line in show(settings, store):
            typer.echo(line)


def follow(
    config: Config,
    changes: Annotated[
        bool, typer.Option("--changes", help="Follow the live table's change log (CDC), not standard input.")
    ] = False,
    feed: Annotated[str, typer.Option(metavar="NAME", help="The name under which the position is kept.")] = "default",
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest change of the log.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when the log has nothing new.")] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Keep vectors fresh from a feed of changes: JSON lines on standard input, or the table's change log.

    A line is {"put": ARTICLE}, {"delete": ID} or {"refresh": ID}, with a rising "position" where it has one.
    """
    if (from_start or once) and not changes:
        raise UsageError(
            "--from-start and --once go with --changes", hint="a stream of lines starts and ends by itself"
        )
    console, spoken = Console(as_json=as_json), time.monotonic()

    def report(fed: Fed) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= _LINE_SECONDS:
            spoken = time.monotonic()
            console.say(_figures(fed))

    with opened(config, overrides) as (settings, store), Articles(settings, store) as articles:
        lag_us = int(settings.sync.clock_skew.total_seconds() * 1_000_000)
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
        raise CheckFailed(f"{counts(fed)['faults']} events were not done", hint="mend them and send them again")


def _figures(fed: Fed) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts(fed).items() if number) or "nothing to do"


@schema_app.command("add-soft-delete")
def schema_add_soft_delete(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Add the column deactivated_at to the live table, and to the other table of a running migration."""
    with opened(config, overrides) as (settings, store):
        added = add_soft_delete(settings, store)
    console = Console(as_json=as_json)
    console.say(f"added {DEACTIVATED} to {', '.join(added)}" if added else "every table has it already")
    console.finish({"tables": added})
