"""Write docs/reference from the code: settings, commands, catalog, errors, states. With --check only compare."""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jobs import errors
from jobs.catalog import tables
from jobs.catalog.states import ALLOWED, ENDED, NEXT
from jobs.cli import app
from jobs.settings import Settings, format_duration

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_NOTE = "<!-- Made from the code by scripts/reference.py; change the code, then run it again. -->"
_KINDS = {str: "text", int: "whole number", float: "number", bool: "true, false", Path: "path", timedelta: "duration"}
_CATALOG = {
    "embedding_alias": "One row an alias: the table, index and model that readers follow.",
    "embedding_alias_history": "Every move of an alias, never edited.",
    "migration": "One row a migration: source, target, state, facts of its steps, and the run that owns it.",
    "migration_range": "One row a token range of a step: planned, done or failed, with the counts of its rows.",
    "dead_letter": "Rows that could not be embedded or written: the primary key and the reason, never the text.",
    "validation": "Every validation: when it was made, whether it passed, and the content that it is bound to.",
}


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]


def _page(title: str, *lines: str) -> str:
    return "\n".join([f"# {title}", "", _NOTE, "", *lines, ""])


def _kind(annotation: Any) -> str:
    """The type of a setting, as people call it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys("null" if each is type(None) else _kind(each) for each in inner))
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"map of {_kind(inner[0])} to {_kind(inner[1])}"
    if hasattr(annotation, "__metadata__"):
        return _kind(inner[0])
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "keys below"
    return _KINDS[annotation]


def _bounds(field: FieldInfo) -> str:
    least = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    most = next((each.le for each in field.metadata if hasattr(each, "le")), None)
    if most is not None:
        return f", {least} to {most}"
    return "" if least is None else f", {least} or more"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _settings(part: type[BaseModel], path: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in part.model_fields.items():
        below = [each for each in (field.annotation, *get_args(field.annotation)) if _is_part(each)]
        if not below or field.annotation is not below[0]:
            kind = _kind(field.annotation) + _bounds(field)
            yield f"`{path}{name}`", kind, _default(field), field.description or ""
        for each in below:
            yield from _settings(each, f"{path}{name}.")


def _is_part(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def settings_page() -> str:
    """Every key of a settings file."""
    return _page(
        "Settings",
        "A settings file is YAML. An unknown key is an error. A duration is a number with `ms`, `s`, `m`, `h` or `d`,",
        "or seconds. Where a part may be null, its keys count only when the part is given. `--set key.path=value`",
        "overrides one key. User and password are no settings: they come from `SCYLLA_USERNAME` and `SCYLLA_PASSWORD`,",
        "or from `store.credentials_file`.",
        "",
        *_table(("key", "type", "default", "what it is"), list(_settings(Settings))),
    )


def _option(parameter: Any) -> tuple[str, ...]:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
        name = ", ".join(f"`{each}{value}`" for each in parameter.opts)
    default = "required" if parameter.required else ""
    if not default and not getattr(parameter, "is_flag", False) and parameter.default is not None:
        default = f"`{parameter.default}`"
    text = parameter.help or ""
    return name, default, f"{text} Else from `{parameter.envvar}`." if parameter.envvar else text


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
            continue
        yield from ("", f"## {path} {name}", "", inspect.cleandoc(command.help), "")
        yield from _table(("option", "default", "what it does"), [_option(each) for each in command.params])


def cli_page() -> str:
    """Every command with its options."""
    root: Any = typer.main.get_command(app)
    whole = _table(("option", "default", "what it does"), [_option(each) for each in root.params])
    return _page("Commands", root.help, "", root.epilog, "", *whole, *_commands(root, root.name))


def catalog_page() -> str:
    """Every table of the catalog."""
    lines = ["Names that end in `_us` are microseconds since the epoch. All tables are created where they are missing."]
    for table in tables.ALL:
        lines += ["", f"## {table.name}", "", _CATALOG[table.name], ""]
        keys = {**dict.fromkeys(table.clustering, "clustering"), **dict.fromkeys(table.partition, "partition")}
        rows = [(f"`{name}`", kind, keys.get(name, "")) for name, kind in table.columns.items()]
        lines += _table(("column", "type", "key"), rows)
    return _page("Catalog", *lines)


def _errors(kind: type[errors.EmbedshiftError], depth: int = 0) -> Iterator[tuple[str, ...]]:
    yield f"{'&emsp;' * depth}`{kind.__name__}`", str(kind.exit_code), (kind.__doc__ or "").partition("\n")[0]
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from _errors(each, depth + 1)


def errors_page() -> str:
    """The tree of errors with their exit codes."""
    lines = ["An error is one line on standard error: what happened and to what, then what to do next.", ""]
    lines += _table(("error", "exit code", "what it means"), list(_errors(errors.EmbedshiftError)))
    end = "An interrupted command ends with 130, an unexpected error with 1. `embedshift --debug STEP` shows where."
    return _page("Errors", *lines, "", end)


def states_page() -> str:
    """The states of a migration and the steps that may follow each."""
    may = {state: [step for step, states in ALLOWED.items() if state in states] for state in NEXT}
    named = {state: ", ".join(f"`{step}`" for step in steps) for state, steps in may.items()}
    rows = [(f"`{state}`", f"`{step}`" if step else "", named[state]) for state, step in NEXT.items()]
    arrows = [
        f"    {state} {'-->' if step == NEXT[state] else '-.->'} {step}([{step}])"
        for state in may
        for step in may[state]
    ]
    lines = ["A step that may not run in a state is refused, with the step that would be right.", ""]
    lines += _table(("state", "usual next step", "steps that may run"), rows)
    lines += ["", f"Nothing is left to do when a migration is {' or '.join(f'`{each}`' for each in ENDED)}.", ""]
    lines += ["Boxes are states, rounded ones steps; a dotted line is a step that may run and is not the usual one."]
    return _page("States", *lines, "", "```mermaid", "flowchart LR", *arrows, "```")


def pages() -> dict[str, str]:
    """The pages by file name."""
    makers = (settings_page, cli_page, catalog_page, errors_page, states_page)
    return {f"{make.__name__.removesuffix('_page')}.md": make() for make in makers}


def stale(folder: Path = FOLDER) -> list[str]:
    """The names of the pages that are missing or differ from the code."""
    found = {page.name: page.read_text("utf-8") for page in folder.glob("*.md")}
    return [name for name, content in pages().items() if found.get(name) != content]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(f"out of date, run scripts/reference.py: {', '.join(stale())}" if stale() else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page, content in pages().items():
        (FOLDER / page).write_text(content, "utf-8")
