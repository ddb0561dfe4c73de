"""The records of validations, which a cutover needs as proof."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from embedshift.catalog.tables import VALIDATION
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us


@dataclass(frozen=True, slots=True)
class ValidationRecord:
    """One validation: when it was made, of which content, and whether it passed."""

    made_us: int
    passed: bool
    content: str
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The names of the checks of a validation, by how they ended."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    not_measured: tuple[str, ...]

    @property
    def words(self) -> str:
        """For example ``14 of 16 checks passed, 1 failed (missing), 1 not measured (index_rows)``."""
        of = len(self.passed) + len(self.failed) + len(self.not_measured)
        parts = [f"{len(self.passed)} of {of} checks passed"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed ({', '.join(self.failed)})")
        if self.not_measured:
            parts.append(f"{len(self.not_measured)} not measured ({', '.join(self.not_measured)})")
        return ", ".join(parts)


def outcomes(report: Mapping[str, Any]) -> Outcomes:
    """How the checks of a record ended. Records of earlier versions count as passed what was not measured."""
    ended: dict[Any, list[str]] = {True: [], False: [], None: []}
    for check in report.get("checks") or []:
        unmeasured = check["passed"] is True and check.get("value", 0) is None
        ended[None if unmeasured else check["passed"]].append(str(check["name"]))
    return Outcomes(*(tuple(ended[outcome]) for outcome in (True, False, None)))


def write_validation(
    store: Store,
    migration: str,
    *,
    passed: bool,
    content: str,
    report: Mapping[str, Any],
    made_us: int | None = None,
) -> None:
    """Record a validation of a content.

    Args:
        store: has the catalog.
        migration: its id.
        passed, content, report: what the validation found.
        made_us: a time at which the run still owned the migration, so that one that slept since does not come after the
            validation of another; None: now.
    """
    row = {"migration": migration, "made_us": made_us or now_us(), "passed": passed, "content": content}
    store.records.put(VALIDATION, [{**row, "report": json.dumps(report)}])


def last_validation(store: Store, migration: str) -> ValidationRecord | None:
    """The newest validation, passed or not; None if there is none."""
    rows = _rows(store, migration)
    return _record(rows[-1]) if rows else None


def validations(store: Store, migration: str) -> list[ValidationRecord]:
    """Every validation of a migration, oldest first."""
    return [_record(row) for row in _rows(store, migration)]


def _rows(store: Store, migration: str) -> list[Record]:
    return sorted(store.records.select(VALIDATION, {"migration": migration}), key=lambda row: int(row["made_us"]))


def _record(row: Record) -> ValidationRecord:
    return ValidationRecord(row["made_us"], row["passed"], row["content"], json.loads(row["report"]))


Format = Literal["html", "markdown", "json"]
_ENDINGS: dict[Format, str] = {"html": ".html", "markdown": ".md", "json": ".json"}


def record_path(named: Path | None, migration: str, number: int | None = None) -> Path:
    """The JSON record of a migration's newest validation, or of the one with that number in the same folder.

    Args:
        named: ``validation.report``.
    """
    newest = named or Path(f"validation-{migration}.json")
    return newest if number is None else newest.with_name(f"validation-{migration}-{number}.json")


def beside(record: Path, form: Format) -> Path:
    """The file in another format beside a record."""
    if form == "json":
        return record
    page = record.with_suffix(_ENDINGS[form])
    return page if page != record else record.with_name(record.name + _ENDINGS[form])


def pages_of(named: Path | None, migration: str) -> list[Path]:
    """The existing files of a migration's validations: pages of the newest, and all files of numbered ones."""
    newest = record_path(named, migration)
    found = [beside(newest, "html"), beside(newest, "markdown")]
    for ending in _ENDINGS.values():
        found += sorted(newest.parent.glob(f"validation-{migration}-*{ending}"))
    return [path for path in dict.fromkeys(found) if path.is_file()]
