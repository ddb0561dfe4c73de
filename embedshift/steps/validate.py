"""Step 5, validate: prove that the target is complete, its index accurate, and the new model no less relevant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.migration import Migration, get_migration
from embedshift.catalog.validations import outcomes, record_path, write_validation
from embedshift.catalog.vector_table import VectorTable, proven_model, reached
from embedshift.embedding import Model
from embedshift.errors import CheckFailed, UnavailableError
from embedshift.reporting.data import material
from embedshift.reporting.files import write_pages
from embedshift.settings import Settings
from embedshift.spark.allowance import counted_models
from embedshift.steps.context import StepContext, StepResult
from embedshift.steps.proof import Surveyor, allowed_of, subject_of
from embedshift.stores.contract import Store
from embedshift.telemetry.console import Console
from embedshift.times import now_us
from embedshift.validation.questions import Question, condition_of, read_questions
from embedshift.validation.relevance import SearchableTable
from embedshift.validation.remedies import remedies
from embedshift.validation.space import Space, in_words
from embedshift.validation.validation import Case, examine

_MARKS = {True: "ok  ", False: "FAIL", None: "?   "}


@dataclass(frozen=True, slots=True)
class ValidationResult(StepResult):
    """A validation that passed: its record, as reports have it, and the file that holds it."""

    record: Mapping[str, Any]
    report: str
    next: str = "embedshift cutover"

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return {**self.record, "report": self.report, "next": self.next}


def validate(context: StepContext) -> ValidationResult:
    """Check every row, the index, and the answers to the labelled questions; write the record down.

    The record goes to the catalog, bound to the content that was checked, and as JSON beside the working directory.

    Raises:
        CheckFailed: a check did not pass; the record is written all the same.
    """
    settings, store, console = context.settings, context.store, context.console
    migration = get_migration(store, settings)
    questions = read_questions(settings.validation.questions) if settings.validation.questions else []
    for question in questions:  # before anything takes long
        condition_of(question, store.describe(migration.target.table), migration.target.index)
    with (
        context.owned(migration, "validate") as lease,
        counted_models(store, migration.id, lease.owner) as model_of,
        context.spark(migration.id, model=migration.target.model) as spark,
    ):
        case = case_of(settings, store, migration, questions, model_of)
        # A service counts the tokens of what it embeds, and of nothing else.
        reader = None if migration.target.model.service else (migration.target, settings.target_model.device)
        surveyor = Surveyor(settings, store, spark, lease, reader)
        more = more_of(settings, migration, questions)
        record = examine(case, surveyor.survey, more, rows_now=lambda: surveyor.content().rows)
        made_us = now_us()
        lease.confirm()
        passed, content = record["passed"], record["content"]
        write_validation(store, migration.id, passed=passed, content=content, report=record, made_us=made_us)
        lease.change(state="validated" if record["passed"] else "synced")
    path = _write(record, settings, migration)
    write_pages(material(store, migration, record), path)
    _say(record, console)
    console.say(f"report: {path}")
    if not record["passed"]:
        if console.as_json:
            console.finish(record)
        failed = outcomes(record).failed
        raise CheckFailed(
            f"validation of {migration.target.table} failed: {', '.join(failed)}",
            hint=f"{remedies(failed)} (see {path})",
        )
    return ValidationResult(record, str(path))


def case_of(
    settings: Settings,
    store: Store,
    migration: Migration,
    questions: list[Question],
    model_of: Callable[[VectorTable, str], Model] | None = None,
) -> Case:
    """What a validation of a migration examines; ``model_of`` gives a table's model on a device, in its own way."""
    model_of = model_of or partial(proven_model, store)
    return Case(
        store,
        subject_of(store, migration),
        _side(store, reached(migration.source, settings), settings.source.model.device, model_of),
        _side(store, reached(migration.target, settings), settings.target_model.device, model_of),
        questions,
        settings.validation,
        lambda: sum(1 for _ in read_dead_letters(store, migration.id)),
        allowed_of(settings, migration),
    )


def _side(
    store: Store, vector_table: VectorTable, device: str, model_of: Callable[[VectorTable, str], Model]
) -> SearchableTable:
    return SearchableTable(
        store,
        store.describe(vector_table.table),
        vector_table.index,
        vector_table.id,
        partial(model_of, vector_table, device),
    )


def more_of(settings: Settings, migration: Migration, questions: list[Question]) -> dict[str, Any]:
    """What the record says of a validation beside what was found: of which migration, when, by which settings."""
    return {
        "migration": migration.id,
        "models": {"old": migration.source.model.name, "new": migration.target.model.name},
        "questions": len(questions),
        "started_us": now_us(),
        "settings": settings.model_dump(mode="json", exclude={"store": {"credentials_file"}}),
    }


def _write(report: dict[str, Any], settings: Settings, migration: Migration) -> Path:
    path = record_path(settings.validation.report, migration.id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(
            f"cannot write the report {path} ({error.strerror})",
            hint="the catalog has it; name another file in validation.report and validate again",
        ) from error
    return path


def _say(report: dict[str, Any], console: Console) -> None:
    for check in report["checks"]:
        value = "–" if check["value"] is None else f"{check['value']:,.4g}"
        limit = "–" if check["limit"] is None else f"{check['limit']:,.4g}"
        console.say(f"  {_MARKS[check['passed']]} {check['name']:<22} {value:>10}  limit {limit:<8} {check['note']}")
    console.say(f"  {outcomes(report).words}")
    relevance = report["relevance"]
    if relevance and relevance["difference"]:
        for name in ("ndcg@10", "recall@10"):
            console.say(f"  {name}: old {relevance['old'][name]:.4f}, new {relevance['new'][name]:.4f}")
    for clients, ratio in report.get("latency", {}).get("ratio_p95", {}).items():
        old, new = (report["latency"][side][clients]["p95_ms"] for side in ("old", "new"))
        console.say(f"  p95 of a search, {clients} at once: old {old:.1f} ms, new {new:.1f} ms, ratio {ratio:.2f}")
    for name, space in report["space"].items():
        console.say(f"  space {name}: {in_words(Space(**space))}")
