"""Write docs/reference from the code: settings, commands, catalog, errors, metrics, states. --check only compares."""

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

from embedshift import errors
from embedshift.catalog import tables
from embedshift.catalog.states import ALLOWED, ENDED, NEXT
from embedshift.cli.app import app
from embedshift.settings import Hook, Settings
from embedshift.stores.records import RecordTable
from embedshift.telemetry import metrics
from embedshift.times import format_duration

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_NOTE = "<!-- Made from the code by scripts/reference.py; change the code, then run it again. -->"
_KINDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true, false",
    Path: "path",
    timedelta: "duration",
    Hook: "list of text, or address",
}
CATALOG = {
    "embedding_alias": "One row per alias: the table, index and model that readers follow.",
    "embedding_alias_history": "Every move of an alias. Rows are never changed.",
    "table_use": "One row per table that an alias points to or ever did: who uses it, and whether it is being dropped. "
    "The row outlives the table, so that its name is never given to another one.",
    "raised_cell": "Cells that a table has with a later time than their own, because its change log takes no write so "
    "old, and deletions like this. Forgotten when the old table is retired.",
    "ledger": "Rows that were written to both tables of a migration, and are too young for the switch to decide what "
    "their absence in one of them means. Forgotten when the old table is retired.",
    "migration": "One row per migration: source, target, state, facts of its steps, and the run that owns it.",
    "migration_range": "One row per token range of a step: planned, done or failed, with the counts of its rows.",
    "dead_letter": "Rows that could not be embedded or written: the primary key and the reason, never the text.",
    "feed": "The position that each feed of changes has reached (`embedshift follow`).",
    "control": "Signals that operators send to running steps, and that steps send: `hold` and `go` of a cutover; "
    "`pause` and `throttle`; `throttle-state/RUN`, what the driver tells its tasks; `slowed/WHO`, what a slowed task "
    "reports; `service-slowed/WHO`, why a service makes it wait; `stop/RUN`, the error that ends a run; `step`, the "
    "step that a run is at; `activity/run` and `activity/task/WHO`, what the run and its tasks "
    "are doing.",
    "service_model": "One row per model of a service: the id that stands for it, made once.",
    "service_answer": "The vectors of sixteen fixed texts, as document and question, by which such a model is known.",
    "service_account": "What a migration has asked of each service, by all its steps and runs. Changed by "
    "compare-and-set before each request and after it.",
    "shadow": "The figures of shadow reading: one row per run, never a question.",
    "validation": "Every validation: when it was made, whether it passed, and the content for which it is valid.",
}
_VECTOR_TABLE = "the vector table as JSON: table, text template, vector column, index with options, model"
_ACTOR = "user, host and process"
#: What a column contains. A text under a column's name applies in every table; ``table.name`` only in one.
COLUMNS = {
    "alias": "the name that applications search by",
    "feed": "the feed's name",
    "position": "of the last applied event: the feed's own number, or, for a change log, a time in microseconds",
    "name": "the signal's name",
    "value": "the signal's text; may be empty",
    "set_us": "when it was sent",
    "set_by": _ACTOR,
    "attempts": "how many times it was tried",
    "bucket": f"spreads the rows over {tables.BUCKETS} partitions; chosen by a hash",
    "migration": "the id of the migration",
    "moved_by": f"who moved it: {_ACTOR}",
    "moved_us": "when it was moved",
    "range_end": "the last token of the range, included",
    "range_start": "the token before the first of the range",
    "step": "`load`, or `sync/N` and `back/N` for pass N of a sync or of a rollback",
    "target": _VECTOR_TABLE,
    "updated_us": "when the row was last written",
    "version": "increases with each move; the compare-and-set compares it",
    "embedding_alias.claim": "the right to move it next: a number that only grows; the compare-and-set compares it too",
    "embedding_alias.claimed_for": "the migration for which it was claimed; empty if for none",
    "embedding_alias.claimed_by": f"who claimed it: {_ACTOR}",
    "table_use.name": "the table",
    "table_use.aliases": "the aliases that point to it, or are about to, as JSON",
    "table_use.state": "empty, `dropping` or `dropped`",
    "table_use.version": "increases with each change; the compare-and-set compares it",
    "table_use.changed_us": "when it was last changed",
    "table_use.changed_by": f"who changed it: {_ACTOR}",
    "raised_cell.slot": "a hash of the primary key; -1 for the names of the tables that have such cells",
    "raised_cell.id": "the primary key as JSON",
    "raised_cell.table_name": "the table that has the cell",
    "raised_cell.cell": "the column; empty for the deletion of the row",
    "raised_cell.at_us": "the write time that it has there",
    "raised_cell.own_us": "its own write time, by which it is compared",
    "service_model.fingerprint": "its id, which is in the digests of its vectors",
    "service_model.name": "under which it was first recorded",
    "service_model.options": "what decides its vectors beside the model itself, as JSON: dimension, fields, prompts",
    "service_model.made_us": "when it was recorded",
    "service_answer.fingerprint": "the id of the model",
    "service_answer.role": "`document` or `query`",
    "service_answer.number": "which of the fixed texts",
    "service_answer.vector": "its vector as base64 of little-endian float32; empty if the service refuses the text",
    "service_account.model": "the id of the model",
    "service_account.name": "the name under which it was asked last",
    "service_account.cost": "what is spent or reserved, in millionths of the currency of its price",
    "service_account.tokens": "as the service counted them, or as they were reserved",
    "service_account.requests": "those that were answered",
    "service_account.tokens_free_us": "when the next request may be sent under the limit of tokens",
    "service_account.requests_free_us": "the same under the limit of requests",
    "service_account.version": "increases with each change; the compare-and-set compares it",
    "ledger.slot": "the hour of the write time, spread over 16 partitions",
    "ledger.id": "the primary key as JSON",
    "ledger.written_us": "the write time of the row's newest cell",
    "ledger.into": "the table that it was written to, from the other one",
    "ledger.arrived": "whether it was seen in both tables",
    "embedding_alias.migration": "the id of the last migration that moved it; empty if none has",
    "embedding_alias.previous": f"where it pointed before: {_VECTOR_TABLE}; empty at first",
    "embedding_alias_history.migration": "the id of the last migration that had moved it; empty if none had",
    "embedding_alias_history.reason": "`created`, `cutover`, `rollback` or `reindex`",
    "migration.id": "`SOURCE-to-TARGET`, with a number if that name was used before",
    "migration.source": "the table that is migrated",
    "migration.target": "the table that is filled, as the settings name it; `target_vector_table` has its real name",
    "migration.source_vector_table": _VECTOR_TABLE,
    "migration.target_vector_table": _VECTOR_TABLE,
    "migration.result_keys": "the settings that decide the result, as JSON; a run with other settings is refused",
    "migration.settings_digest": "a hash of them",
    "migration.state": "one of the [states](states.md)",
    "migration.facts": "figures of the steps as JSON: rows, seconds, the moment of the cutover, the pass of sync; and "
    "whether `upgrade` started it",
    "migration.owner": f"the run that owns it: {_ACTOR}, and which run of the process; empty if no run does",
    "migration.owned_since_us": "since when it owns it",
    "migration.lease_until_us": "when the owner loses the lease, unless it renews it",
    "migration.created_us": "when `prepare` recorded it",
    "migration.updated_us": "when a step last wrote its state or its facts",
    "migration_range.state": "`planned`, `done` or `failed`",
    "migration_range.rows_read": "rows of the source; equal to written + unchanged + dead if the range is done",
    "migration_range.written": "rows that were written, in whole or in part",
    "migration_range.unchanged": "rows that the target already had",
    "migration_range.dead": "rows that became dead letters",
    "migration_range.deleted": "orphans that were deleted",
    "migration_range.shadowed": "those of the written rows that a newer delete hides",
    "migration_range.owner": f"the task that wrote the row: {_ACTOR}",
    "migration_range.error": "why it failed; empty if it did not",
    "migration_range.seconds": "how long its task took",
    "dead_letter.bucket": f"spreads the rows over {tables.BUCKETS} partitions for each direction; chosen by a hash",
    "dead_letter.id": "the primary key as JSON",
    "dead_letter.reason": "why it is not in the target",
    "dead_letter.step": "`load`, `sync/N`, or `client/OPERATION/WRITE TIME`; on the way back the last two with `back`",
    "dead_letter.attempts": "the attempt of its range that found it; 1 for a letter that a client left",
    "shadow.run": f"the run that measured: {_ACTOR}, and which run of the process",
    "shadow.stats": "counts, sums and histograms as JSON; a report adds up the rows of all runs",
    "validation.made_us": "when it was made",
    "validation.passed": "whether every check passed",
    "validation.content": "rows and hash of the target that was checked; cutover compares it",
    "validation.report": "the whole record as JSON: what `validate --json` prints",
}
#: What closes the way back of a migration, and is no step of its own.
NEXT_CUTOVER = "the next migration's cutover"
#: State, step, and the state after the step. A step that finds nothing to do does not change the state.
MOVES = (
    ("preparing", "prepare", "prepared"),
    ("prepared", "load", "loaded"),
    ("loaded", "sync", "caught_up"),
    ("caught_up", "index", "indexed"),
    ("indexed", "sync", "synced"),
    ("synced", "validate", "validated"),
    ("validated", "sync that repairs", "synced"),
    ("validated", "validate that fails", "synced"),
    ("validated", "cutover begins", "switching"),
    ("switching", "cutover", "switched"),
    ("switching", "rollback before the alias moved", "validated"),
    ("switching", "rollback begins", "rolling_back"),
    ("switched", "rollback begins", "rolling_back"),
    ("rolling_back", "rollback", "rolled_back"),
    ("rolled_back", "sync", "synced"),
    ("switched", NEXT_CUTOVER, "closed"),
    ("rolling_back", NEXT_CUTOVER, "closed"),
    ("switched", "retire begins", "retiring"),
    ("closed", "retire begins", "retiring"),
    ("retiring", "retire", "retired"),
    ("switching", "abort begins", "aborting"),
    ("switched", "reindex", "switched"),
    ("synced", "dead-letters retry", "synced"),
    ("synced", "shadow", "synced"),
    ("synced", "abort begins", "aborting"),
    ("aborting", "abort", "aborted"),
)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]


def _page(title: str, *lines: str) -> str:
    return "\n".join([f"# {title}", "", _NOTE, "", *lines, ""])


def _kind(annotation: Any) -> str:
    """The type of a setting, in words."""
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


def _settings(part: type[BaseModel], fixed: frozenset[str], path: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in part.model_fields.items():
        below = [each for each in (field.annotation, *get_args(field.annotation)) if _is_part(each)]
        if not below or field.annotation is not below[0]:
            key = f"{path}{name}"
            kind = _kind(field.annotation) + _bounds(field)
            yield f"`{key}`", kind, _default(field), "yes" if key in fixed else "", field.description or ""
        for each in below:
            yield from _settings(each, fixed, f"{path}{name}.")


def _fixed() -> frozenset[str]:
    """The keys that a migration is prepared with; they may not change before it has ended."""
    model = {"name": "any"}
    tree = {
        "alias": "articles",
        "store": {"path": "any"},
        "source": {"table": "old", "model": model},
        "target": {"table": "new", "model": model},
    }
    return frozenset(Settings.model_validate(tree).result_keys())


def _is_part(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def settings_page() -> str:
    """Every key of a settings file."""
    return _page(
        "Settings",
        "A settings file is YAML. An unknown key is an error. A duration is a number with `ms`, `s`, `m`, `h` or `d`,",
        "or seconds. If a part may be null, its keys apply only if the part is given. `--set key.path=value`",
        "overrides one key. User and password are not settings: they are in `SCYLLA_USERNAME` and `SCYLLA_PASSWORD`,",
        "or in `store.credentials_file`. Paths are relative to the directory in which a command is run.",
        "",
        "A fixed key decides the result of a migration: it may not change from `prepare` until the migration has",
        "ended, except `target.index`, which may change after the cutover. Other keys may change between two runs.",
        "",
        *_table(("key", "type", "default", "fixed", "what it is"), list(_settings(Settings, _fixed()))),
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
    return name, default, f"{text} If not given, from `{parameter.envvar}`." if parameter.envvar else text


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
    lines = [
        "Names that end in `_us` are microseconds since the epoch. Missing tables are created. On a",
        "cluster a table has `embedshift_` before its name, unless the name begins with `embedding_`. They are in",
        "`store.catalog.keyspace`, or beside the articles. In an embedded store each has `catalog_` before its name.",
    ]
    for table in tables.ALL:
        lines += ["", f"## {table.name}", "", CATALOG[table.name], ""]
        keys = {**dict.fromkeys(table.clustering, "clustering"), **dict.fromkeys(table.partition, "partition")}
        rows = [(f"`{name}`", kind, keys.get(name, ""), _column(table, name)) for name, kind in table.columns.items()]
        lines += _table(("column", "type", "key", "what it holds"), rows)
    return _page("Catalog", *lines)


def _column(table: RecordTable, name: str) -> str:
    own = f"{table.name}.{name}"
    return COLUMNS[own if own in COLUMNS else name]


def _errors(kind: type[errors.EmbedshiftError], depth: int = 0) -> Iterator[tuple[str, ...]]:
    yield f"{'&emsp;' * depth}`{kind.__name__}`", str(kind.exit_code), (kind.__doc__ or "").partition("\n")[0]
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from _errors(each, depth + 1)


def errors_page() -> str:
    """The tree of errors with their exit codes."""
    lines = ["An error is one line on standard error: what happened and where, then what to do next.", ""]
    lines += _table(("error", "exit code", "what it means"), list(_errors(errors.EmbedshiftError)))
    end = "What each code means: [exit codes](exit-codes.md). `embedshift --debug STEP` shows the traceback."
    return _page("Errors", *lines, "", end)


def metrics_page() -> str:
    """Every metric with its labels."""
    lines = [
        "How to get them: [watch](../how-to/watch.md#prometheus). The label `step` is without the number of the pass.",
        "",
    ]
    for title, lead, known in (
        ("Counted", "What this process has done since it began.", metrics.COUNTED),
        ("Read from the catalog", "Read when Prometheus asks. Ranges are those of the running step.", metrics.READ),
    ):
        rows = [
            (f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.help) for each in known
        ]
        lines += [f"## {title}", "", lead, "", *_table(("metric", "type", "labels", "what it is"), rows), ""]
    end = "A figure that is not known has no sample: before ranges have ended, `embedshift_time_left_seconds` has none."
    return _page("Metrics", *lines, end)


def _named(step: str) -> str:
    command = step.split(maxsplit=1)[0]
    return step if step == NEXT_CUTOVER else f"`{command}`{step.removeprefix(command)}"


def states_page() -> str:
    """The states of a migration and the steps that may run in each."""
    may = {state: [step for step, states in ALLOWED.items() if state in states] for state in NEXT}
    named = {state: ", ".join(f"`{step}`" for step in steps) for state, steps in may.items()}
    rows = [(f"`{state}`", f"`{step}`" if step else "", named[state]) for state, step in NEXT.items()]
    lines = ["A step that may not run in a state is refused; the error names the right step.", ""]
    lines += _table(("state", "usual next step", "steps that may run"), rows)
    lines += ["", f"Nothing is left to do when a migration is {' or '.join(f'`{each}`' for each in ENDED)}.", ""]
    lines += ["![The states as boxes, the steps as arrows between them](../pictures/states.svg)", ""]
    lines += [
        "A step that finds nothing to do does not change the state. A step that fails leaves the state it reached.",
        "",
    ]
    moves = [(f"`{before}`", _named(step), f"`{after}`") for before, step, after in MOVES]
    lines += _table(("from", "step", "to"), moves)
    return _page("States", *lines)


#: What each exit code means for the caller: a person, cron, an orchestrator.
_EXITS = {
    0: ("Done, or nothing was left to do.", "Run the next step."),
    1: (
        "A check did not pass: a validation, ranges that failed every try, too many dead letters. "
        "Also an unexpected error.",
        "Read the line. What is done stays done: fix the cause and run the same command again.",
    ),
    2: ("Wrong use: an option, a settings file, a table or a line of input.", "Fix it; a repetition does not help."),
    3: ("The store or a model is not available.", "Try again later; nothing was lost."),
    4: (
        "Refused: another run owns the migration, or the state forbids the step.",
        "Wait for the other run, or run the step that the line names.",
    ),
    130: ("Interrupted, by Ctrl-C.", "Run the same command again."),
}


def exit_codes_page() -> str:
    """The meaning of each exit code, and the errors with that code."""
    kinds = [errors.EmbedshiftError]
    for kind in kinds:
        kinds += [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    lines = ["Every command ends with one of these codes. The line on standard error says more.", ""]
    rows = [
        (f"{code}", says, "; ".join(f"`{kind.__name__}`" for kind in kinds if kind.exit_code == code), then)
        for code, (says, then) in _EXITS.items()
    ]
    lines += _table(("code", "what it means", "errors", "what to do"), rows)
    end = "A command that was killed has the shell's code for the signal, such as 137. It can be run again."
    return _page("Exit codes", *lines, "", end)


def pages() -> dict[str, str]:
    """The pages by file name."""
    makers = (settings_page, cli_page, catalog_page, errors_page, exit_codes_page, metrics_page, states_page)
    return {f"{make.__name__.removesuffix('_page').replace('_', '-')}.md": make() for make in makers}


def stale(folder: Path = FOLDER) -> list[str]:
    """The names of the pages that are missing or out of date."""
    found = {page.name: page.read_text("utf-8") for page in folder.glob("*.md")}
    return [name for name, content in pages().items() if found.get(name) != content]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(f"out of date, run scripts/reference.py: {', '.join(stale())}" if stale() else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page, content in pages().items():
        (FOLDER / page).write_text(content, "utf-8")
