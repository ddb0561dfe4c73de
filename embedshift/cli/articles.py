"""``embedshift articles …``: the methods of ``embedshift.Articles`` on the command line, one to one; and ``search``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedshift.cli.command import DryRun, Yes, command
from embedshift.cli.run import Invocation, ask
from embedshift.errors import CheckFailed, InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    from embedshift.articles.client import Articles
    from embedshift.articles.search import Match
articles_app = typer.Typer(help="Add, find, change and delete articles through the alias.", no_args_is_help=True)
#: ``embedshift search`` is a command of the first level, not one of ``articles``.
search_app = typer.Typer()

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The article's id; a JSON object if the key has several columns.")
]

Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="COLUMN=VALUE", help="Only articles that have this; may be given again."),
]


def _open(call: Invocation) -> Articles:
    from embedshift.articles.client import Articles

    return Articles.open(call.settings())


@command(articles_app, "add")
def add(
    call: Invocation,
    source: Annotated[str, typer.Argument(metavar="JSON|FILE", help="One article as JSON, a JSONL file, or - for it.")],
) -> None:
    """Write articles: new ones, or the given columns of existing ones. Exit 1 if one could not be written."""
    console = call.console
    with _open(call) as articles:
        if source.lstrip().startswith("{"):
            articles.add(_object(source, "the article"))
            written, failures = 1, []
        else:
            added = articles.add_many(_lines(source))
            written, failures = added.written, [asdict(each) for each in added.failures]
    for each in failures:
        console.say(f"article {each['position'] + 1} ({each['id']}): {each['reason']}")
    console.say(f"wrote {written:,} article{'' if written == 1 else 's'}")
    console.finish({"written": written, "failures": failures})
    if failures:
        raise CheckFailed(f"{len(failures)} articles were not written", hint="correct them and add them again")


@command(articles_app, "update")
def update(
    call: Invocation,
    id_: Id,
    columns: Annotated[str, typer.Argument(metavar="JSON", help='The columns to change: \'{"title": "New"}\'.')],
) -> None:
    """Change columns of an article; it is embedded again only if its text changes."""
    with _open(call) as articles:
        articles.update(articles.parse_id(id_), **_object(columns, "the columns"))
    _done(call, id_, "updated")


@command(articles_app, "get", json=False)
def get(call: Invocation, id_: Id) -> None:
    """Print an article as JSON."""
    with _open(call) as articles:
        article = articles.get(articles.parse_id(id_))
    if article is None:
        raise NotFoundError(f"there is no article {id_}", hint="check its id")
    typer.echo(json.dumps(article, ensure_ascii=False))


@command(articles_app, "delete")
def delete(call: Invocation, id_: Id) -> None:
    """Delete an article; a missing one is no error."""
    with _open(call) as articles:
        found = articles.delete(articles.parse_id(id_))
    console = call.console
    console.say(f"deleted {id_}" if found else f"{id_} was not there")
    console.finish({"id": id_, "found": found})


@command(articles_app, "deactivate")
def deactivate(call: Invocation, id_: Id) -> None:
    """Hide an article from every search, and keep it."""
    with _open(call) as articles:
        articles.deactivate(articles.parse_id(id_))
    _done(call, id_, "deactivated")


@command(articles_app, "restore")
def restore(call: Invocation, id_: Id) -> None:
    """Make an inactive article active again."""
    with _open(call) as articles:
        articles.restore(articles.parse_id(id_))
    _done(call, id_, "restored")


@command(articles_app, "search")
def search(
    call: Invocation,
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="What is asked.")] = None,
    like: Annotated[str | None, typer.Option("--like", metavar="ID", help="Search like this article.")] = None,
    vector: Annotated[str | None, typer.Option("--vector", metavar="JSON", help="Search by a list of numbers.")] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", help="How many articles, 1 to 1000.")] = 10,
    columns: Annotated[str | None, typer.Option("--columns", metavar="A,B", help="The columns to show.")] = None,
    where: Where = None,
) -> None:
    """Find active articles by a question, by a vector, or like an article."""
    if sum(each is not None for each in (question, like, vector)) != 1:
        raise UsageError("search needs one of QUESTION, --like and --vector", hint="give exactly one")
    from embedshift.articles.keys import parse_condition

    shown = None if columns is None else [name.strip() for name in columns.split(",")]
    with _open(call) as articles:
        only = parse_condition(articles.live_table(), where or ())
        if like is not None:
            found = articles.search_like(articles.parse_id(like), k, shown, only)
        elif vector is not None:
            found = articles.search_vector(_json(vector, "the vector"), k, shown, only)
        else:
            found = articles.search(question or "", k, shown, only)
    _show(call, found)


@command(search_app, "search")
def search_alias(
    call: Invocation,
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    k: Annotated[int, typer.Option("-k", metavar="N", help="How many articles, 1 to 1000.")] = 10,
    where: Where = None,
) -> None:
    """Find articles through the alias, with the model that the alias names."""
    from embedshift.articles.keys import parse_condition
    from embedshift.articles.search import search as find
    from embedshift.catalog.alias import get_alias

    with call.opened() as (settings, store):
        alias = get_alias(store, settings.alias)
        only = parse_condition(store.describe(alias.target.table), where) if where else None
        found = find(store, alias, question, k, only)
    if call.as_json:
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False))
        return
    console = call.console
    for place, each in enumerate(found, 1):
        console.say(f"{place:>3}  {each.score:.4f}  {each.title or each.id}")
    console.say(f"from {alias.target.table} by {alias.target.model.name}")


@command(articles_app, "erase")
def erase(call: Invocation, id_: Id) -> None:
    """Remove an article from tables, dead letters and reports, and prove it, one line for each place."""
    with _open(call) as articles:
        places = articles.erase(articles.parse_id(id_))
    console = call.console
    for each in places:
        console.say(str(each))
    console.finish({"id": id_, "places": [asdict(each) for each in places]})


@command(articles_app, "purge")
def purge(
    call: Invocation,
    inactive_for: Annotated[
        str | None,
        typer.Option("--inactive-for", metavar="DURATION", help="Delete what has been inactive for that long."),
    ] = None,
    not_in: Annotated[
        Path | None,
        typer.Option("--not-in", metavar="IDS.jsonl", help="Delete what this file lacks, one id a line."),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FILE", help="First write them to this .jsonl or .parquet.")
    ] = None,
    max_share: Annotated[
        str, typer.Option("--max-share", metavar="SHARE", help="Largest share of the table that --not-in may delete.")
    ] = "10%",
    dry_run: DryRun = False,
) -> None:
    """Delete articles by a rule, for a schedule: inactive for long, or missing from another system."""
    from embedshift.settings.values import parse_share
    from embedshift.times import parse_duration

    if (inactive_for is None) == (not_in is None):
        raise UsageError("purge needs one rule", hint="give --inactive-for or --not-in")
    with _open(call) as articles:
        purged = articles.purge(
            None if inactive_for is None else parse_duration(inactive_for),
            archive,
            not_in=not_in,
            max_share=parse_share(max_share),
            dry_run=dry_run,
        )
    console = call.console
    verb = f"would delete {purged.chosen:,}" if dry_run else f"deleted {purged.deleted:,}"
    console.say(f"{verb} of {purged.rows:,} articles, archived {purged.archived:,}")
    if not dry_run and purged.deleted < purged.chosen:
        console.say(f"{purged.chosen - purged.deleted:,} were written in the meantime and stay until the next purge")
    console.finish(asdict(purged))


@command(articles_app, "drop")
def drop_(call: Invocation, yes: Yes = False) -> None:
    """Drop the live table, its index and every record of the alias in the catalog."""
    from embedshift.articles.drop import drop

    # Not through Articles: what is left of an alias whose table is gone must go too.
    with call.opened() as (settings, store):
        dropped = drop(settings, store, None if yes else ask)
    console = call.console
    console.say(f"dropped {', '.join(dropped.tables) or 'no table'} and the records of the alias {dropped.alias}")
    console.finish(asdict(dropped))


def _done(call: Invocation, id_: str, what: str) -> None:
    console = call.console
    console.say(f"{what} {id_}")
    console.finish({"id": id_, what: True})


def _show(call: Invocation, found: Sequence[Match]) -> None:
    if call.as_json:
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False))
        return
    for place, each in enumerate(found, 1):
        call.console.say(f"{place:>3}  {each.score:.4f}  {each.id}  {each.values.get('title') or ''}".rstrip())


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: this is not JSON", hint="quote it for the shell") from error


def _object(text: str, what: str) -> dict[str, Any]:
    value = _json(text, what)
    if not isinstance(value, dict):
        raise InputError(f"{what}: this is not a JSON object", hint='write such as {"title": "New"}')
    return value


def _lines(source: str) -> Iterator[Any]:
    """The articles of a JSONL file or of standard input; a line that is no JSON is passed on, to be named."""
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
            for line in lines:
                if line.strip():
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError):
                        yield None
    except OSError as error:
        raise InputError(f"cannot read {source} ({error.strerror})", hint="give JSON, or name a JSONL file") from error
