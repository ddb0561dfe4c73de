"""The records of validations: the proof that a cutover asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.catalog.tables import VALIDATION, now_us
from jobs.stores.contract import Store


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
    rows = list(store.records.select(VALIDATION, {"migration": migration}))
    if not rows:
        return None
    newest = max(rows, key=lambda row: int(row["made_us"]))
    return ValidationRecord(newest["made_us"], newest["passed"], newest["content"], json.loads(newest["report"]))
