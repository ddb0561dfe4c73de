"""The report of a validation, made again from the catalog's record; nothing changes in the store."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Any

from embedshift.catalog.migration import Migration, find_migration, migrations
from embedshift.catalog.validations import Format, ValidationRecord, beside, record_path, validations
from embedshift.errors import StateError, UsageError
from embedshift.reporting.data import material
from embedshift.reporting.files import rendered, write_report
from embedshift.reporting.page import verdict
from embedshift.reporting.section import moment
from embedshift.settings import Settings
from embedshift.steps.context import StepContext
from embedshift.stores.contract import Store

#: As the name of a file: standard output.
_STDOUT = Path("-")


def report(
    context: StepContext,
    *,
    form: Format = "html",
    output: Path | None = None,
    migration: str | None = None,
    number: int | None = None,
    show: bool = False,
) -> dict[str, Any]:
    """Write the report of a validation, and print its file and its verdict.

    Args:
        form: html, markdown or json.
        output: the file; ``-`` for standard output; if None, beside ``validation.report``.
        migration: its id; if None, the migration of the settings.
        number: which validation of it, 1 for the oldest; if None, the newest.
        show: open it in a browser.

    Raises:
        UsageError: there is no such migration, or it has no such validation.
        StateError: it has not been validated.
    """
    settings, store, console = context.settings, context.store, context.console
    if output == _STDOUT and (console.as_json or show):
        raise UsageError(
            "with --output - there is no file to name or to open", hint="name a file, or leave --json and --open out"
        )
    chosen = _migration(settings, store, migration)
    known = validations(store, chosen.id)
    number, record = _validation(known, chosen, number)
    drawn = material(store, chosen, {**record.report, "made_us": record.made_us})
    said = verdict(drawn)
    result = {"migration": chosen.id, "number": number, "passed": record.passed, "verdict": said}
    if output == _STDOUT:
        sys.stdout.write(rendered(drawn, form))
        return {**result, "report": None}
    named = None if number == len(known) and _is_own(settings, store, chosen) else number
    place = output or beside(record_path(settings.validation.report, chosen.id, named), form)
    path = write_report(drawn, form, place)
    console.say(said)
    console.say(f"report: {path}")
    if show and not webbrowser.open(path.absolute().as_uri()):
        console.say("no browser was found: open the file yourself")
    return {**result, "report": str(path)}


def history(context: StepContext, *, migration: str | None = None) -> dict[str, Any]:
    """Every validation of the alias's migrations, or of one of them, oldest first."""
    settings, store, console = context.settings, context.store, context.console
    chosen = [_migration(settings, store, migration)] if migration else migrations(store, settings.alias)
    rows = [
        {
            "migration": each.id,
            "number": number,
            "made": moment(found.made_us),
            "passed": found.passed,
            "verdict": verdict(found.report),
        }
        for each in chosen
        for number, found in enumerate(validations(store, each.id), 1)
    ]
    for row in rows:
        console.say(f"{row['migration']}  {row['number']}  {row['made']}  {row['verdict']}")
    if not rows:
        console.say("nothing has been validated yet")
    return {"validations": rows}


def _migration(settings: Settings, store: Store, name: str | None) -> Migration:
    if name is None:
        found = find_migration(store, settings)
        if found is None:
            raise StateError(f"there is no migration into {settings.target.table}", hint="run embedshift prepare first")
        return found
    known = {each.id: each for each in migrations(store, settings.alias)}
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        raise UsageError(f"there is no migration {name} of the alias {settings.alias}", hint=there)
    return known[name]


def _validation(
    found: list[ValidationRecord], migration: Migration, number: int | None
) -> tuple[int, ValidationRecord]:
    if not found:
        raise StateError(f"migration {migration.id} has not been validated", hint="run embedshift validate")
    number = len(found) if number is None else number
    if not 1 <= number <= len(found):
        raise UsageError(
            f"migration {migration.id} has no validation {number}", hint=f"it has 1 to {len(found)}: see --list"
        )
    return number, found[number - 1]


def _is_own(settings: Settings, store: Store, migration: Migration) -> bool:
    """Whether ``validation.report`` of these settings is the record of that migration."""
    own = find_migration(store, settings)
    return own is not None and own.id == migration.id
