"""Settings, tables and dead letters: explain, create, show, retry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedshift.cli.command import DryRun, command
from embedshift.cli.run import Invocation
from embedshift.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from embedshift.settings import IndexSettings, Settings

config_app = typer.Typer(help="Explain a settings file, or print its JSON Schema.", no_args_is_help=True)
schema_app = typer.Typer(help="Create or show the tables.", no_args_is_help=True)
letters_app = typer.Typer(help="Rows that could not be embedded or written.", no_args_is_help=True)


@command(letters_app, "list")
def letters_list(call: Invocation) -> None:
    """Show every dead letter: key, step, attempts, reason."""
    from embedshift.operations.dead_letters import list_dead_letters as query

    call.query(query)


@command(letters_app, "retry")
def letters_retry(call: Invocation) -> None:
    """Embed and write their rows again; exit 1 if some fail again."""
    from embedshift.operations.dead_letters import retry as operation

    call.step(operation)


@command(letters_app, "drop")
def letters_drop(
    call: Invocation,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Keys as the list shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Forget dead letters; their rows stay missing, and validation counts them."""
    from embedshift.operations.dead_letters import drop as operation

    if bool(ids) == every:
        raise UsageError("name the dead letters to forget, or add --all", hint="see embedshift dead-letters list")
    call.step(operation, ids=ids or (), every=every)


@command(config_app, "check")
def config_check(call: Invocation) -> None:
    """Read a settings file and print every key, its value, whether that is a default, and its meaning."""
    settings = call.settings()
    if call.as_json:
        typer.echo(settings.model_dump_json())
        return
    for line in explain(settings):
        typer.echo(line)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of settings files, for editors."""
    from embedshift.settings import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


def explain(settings: Settings) -> list[str]:
    """One line per key: ``key.path = value  (default)  # what it means``.

    An option of the index that is left to the store has the value that the store uses.
    """
    from embedshift.stores import index_defaults

    return list(_lines(settings, "", index_defaults(settings.store.kind)))


def _lines(part: BaseModel, path: str, index_defaults: Mapping[str, IndexSettings]) -> Iterator[str]:
    from pydantic import BaseModel

    from embedshift.settings import IndexSettings

    plain: dict[str, Any] = part.model_dump(mode="json")
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _lines(value, f"{path}{name}.", index_defaults)
            continue
        shown, mark = _plain(plain[name]), "" if name in part.model_fields_set else "  (default)"
        if value is None and isinstance(part, IndexSettings):
            shown, mark = _left_to_the_store(name, index_defaults)
        yield f"{path}{name} = {shown}{mark}  # {field.description}"


def _left_to_the_store(name: str, index_defaults: Mapping[str, IndexSettings]) -> tuple[str, str]:
    """The value of an option that the settings do not name, and what the store uses then."""
    own = {product: getattr(defaults, name) for product, defaults in index_defaults.items()}
    if len(own) == 1:
        return _plain(*own.values()), "  (default)"
    known = ", ".join(f"{product} {'none' if value is None else _plain(value)}" for product, value in own.items())
    return "null", f"  (default: the server's own: {known})"


def _plain(value: Any) -> str:
    """A value as YAML has it; texts without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@command(schema_app, "apply")
def schema_apply(call: Invocation, dry_run: DryRun = False) -> None:
    """Create keyspaces, the live table with its index, and the catalog, if they are missing."""
    from embedshift.operations.schema import apply

    console = call.console
    with call.opened() as (settings, store):
        console.say(f"create what is missing of {settings.source.table} and the catalog in {store.label}")
        if dry_run:
            console.finish({"dry_run": True})
            return
        applied = apply(settings, store)
    created = [f"keyspace {name}" for name in applied.keyspaces] + [f"table {name}" for name in applied.tables]
    console.say(f"created {', '.join(created)}" if created else "everything exists already")
    console.finish({**asdict(applied), "next": "embedshift import FILE.jsonl"})


@command(schema_app, "show", json=False)
def schema_show(call: Invocation) -> None:
    """Show the tables of these settings and of the catalog."""
    from embedshift.operations.schema import show

    with call.opened() as (settings, store):
        for line in show(settings, store):
            typer.echo(line)


@command(schema_app, "add-soft-delete")
def schema_add_soft_delete(call: Invocation) -> None:
    """Add the column deactivated_at to the live table, and to the other table of a running migration."""
    from embedshift.articles.delete import DEACTIVATED, add_soft_delete

    with call.opened() as (settings, store):
        added = add_soft_delete(settings, store)
    console = call.console
    console.say(f"added {DEACTIVATED} to {', '.join(added)}" if added else "every table has it already")
    console.finish({"tables": added})
