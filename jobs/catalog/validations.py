"""The records of validations: the proof that a cutover asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.catalog.tables import VALIDATION, now_us
from jobs.stores.contract import Store
from jobs.stores.record import Record


@dataclass(frozen=True, slots=True)
class ValidationRecord:
    """One validation: when, of which content, with what outcome."""

    made_us: int
    passed: bool
    content: str
    report: Mapping[str, Any]


def write_validation(store: Store, migration: str, *, passed: bool, content: str, report: Mapping[str, Any]) -> None:
    """Record a validation of a content fingerprint."""
    row = {"migration": migration, "made_us": now_us(), "passed": passed, "content": content}
    store.records.put(VALIDATION, [{**row, "report": json.dumps(report)}])


def last_validation(store: Store, migration: str) -> ValidationRecord | None:
    """The newest validation, passed or not; None where there is none."""
    rows = _rows(store, migration)
    return _record(rows[-1]) if rows else None


def validations(store: Store, migration: str) -> list[ValidationRecord]:
    """Every validation of a migration, oldest first."""
    return [_record(row) for row in _rows(store, migration)]


def _rows(store: Store, migration: str) -> list[Record]:
    return sorted(store.records.select(VALIDATION, {"migration": migration}), key=lambda row: int(row["made_us"]))


def _record(row: Record) -> ValidationRecord:
    return ValidationRecord(row["made_us"], row["passed"], row["content"], json.loads(row["report"]))
