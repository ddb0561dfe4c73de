"""Step 5, validate: prove that the target is complete, that its index finds, and that the new model is no worse."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.catalog.dead_letters import read_dead_letters
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.migration import Migration, get_migration, owned
from jobs.catalog.models import proven_model
from jobs.catalog.report_files import record_path
from jobs.catalog.tables import now_us
from jobs.catalog.validations import write_validation
from jobs.console import Console
from jobs.errors import CheckFailed, UnavailableError
from jobs.quality.checks import Check, row_checks
from jobs.quality.content import Content, content_of
from jobs.quality.examine import NEIGHBOURS, Case, examine
from jobs.quality.findings import Survey
from jobs.quality.lengths import cut_by
from jobs.quality.questions import Question, read_questions
from jobs.quality.side import Side
from jobs.quality.space import Space, in_words
from jobs.quality.subject import Subject
from jobs.quality.survey import survey_range
from jobs.reporting.files import write_pages
from jobs.reporting.material import material
from jobs.settings import Settings
from jobs.spark.plan import plan_ranges
from jobs.spark.session import spark_session
from jobs.spark.spread import spread
from jobs.spark.transfer import reachable
from jobs.stores.contract import Store

#: A column of this name colours the picture of the articles.
_GROUPS = "subject"


def validate(settings: Settings, store: Store, console: Console) -> dict[str, Any]:
    """Check every row, the index, and the answers to the labelled questions; write the record down.

    The record goes to the catalog, bound to the content that was checked, and as JSON beside the working directory.

    Raises:
        CheckFailed: a check did not pass; the record is written all the same.
    """
    migration = get_migration(store, settings)
    questions = read_questions(settings.validation.questions) if settings.validation.questions else []
    with (
        owned(store, migration, "validate", settings.cutover.lease) as ownership,
        spark_session(settings, "validate", model=migration.target.model) as session,
    ):
        case = case_of(settings, store, migration, questions)
        reader = (migration.target, settings.target_model.device)
        surveyed = partial(_survey, settings, store, session, case.subject, reader=reader)
        report = examine(case, surveyed, more_of(settings, migration, questions))
        write_validation(store, migration.id, passed=report["passed"], content=report["content"], report=report)
        ownership.change(state="validated" if report["passed"] else "synced")
    path = _write(report, settings, migration)
    write_pages(material(store, migration, report), path)
    _say(report, console)
    console.say(f"report: {path}")
    if not report["passed"]:
        failed = [check["name"] for check in report["checks"] if not check["passed"]]
        if console.as_json:
            console.finish(report)
        raise CheckFailed(f"validation of {migration.target.table} failed: {', '.join(failed)}", hint=f"see {path}")
    return {**report, "report": str(path), "next": "embedshift cutover"}


def case_of(settings: Settings, store: Store, migration: Migration, questions: list[Question]) -> Case:
    """What a validation of a migration examines."""
    return Case(
        store,
        subject_of(store, migration),
        _side(store, migration.source, settings.source.model.device),
        _side(store, migration.target, settings.target_model.device),
        questions,
        settings.validation,
        lambda: sum(1 for _ in read_dead_letters(store, migration.id)),
        settings.load.tolerate_dead,
    )


def _side(store: Store, endpoint: Endpoint, device: str) -> Side:
    return Side(
        store, store.describe(endpoint.table), endpoint.index, endpoint.id, partial(proven_model, endpoint, device)
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


def subject_of(store: Store, migration: Migration) -> Subject:
    """What is validated, in the words of the quality room."""
    target = store.describe(migration.target.table)
    groups = target.column(_GROUPS)
    return Subject(
        source=store.describe(migration.source.table),
        target=target,
        text=migration.source.text,
        source_vector=migration.source.vector,
        target_vector=migration.target.vector,
        fingerprint=migration.target.model.fingerprint,
        dimension=migration.target.model.dimension,
        normalized=migration.target.model.normalize,
        metric=migration.target.index_options.metric,
        source_digests=migration.source.digests,
        groups=_GROUPS if groups is not None and groups.type == "text" else None,
    )


def rows_now(settings: Settings, store: Store, session: SparkSession, migration: Migration) -> list[Check]:
    """The checks that look at every row, made anew."""
    survey = _survey(settings, store, session, subject_of(store, migration), None)
    dead = sum(1 for _ in read_dead_letters(store, migration.id))
    return row_checks(survey, dead, settings.load.tolerate_dead)


def content_now(
    settings: Settings, store: Store, session: SparkSession, migration: Migration, newer_than_us: int
) -> Content:
    """The fingerprint of the target's content at this moment, and how many rows were written after another."""
    subject = subject_of(store, migration)
    ranges = plan_ranges(store, migration.target.table, settings.load.ranges)
    work = partial(_content, subject, settings.load.window_rows, newer_than_us)
    return spread(session, reachable(settings.store), ranges, work)


def _content(subject: Subject, window_rows: int, newer_than_us: int, store: Store, within: Any) -> Content:
    return content_of(store, subject, within, window_rows=window_rows, newer_than_us=newer_than_us)


def _survey(
    settings: Settings,
    store: Store,
    session: SparkSession,
    subject: Subject,
    probes: Any,
    *,
    reader: tuple[Endpoint, str] | None = None,
) -> Survey:
    """Survey every range on Spark; texts that are cut are counted where the model that reads them is named."""
    ranges = plan_ranges(store, subject.source.name, settings.load.ranges)
    shared = session.sparkContext.broadcast(probes)
    work = partial(_survey_range, subject, settings.load.window_rows, shared, reader)
    return spread(session, reachable(settings.store), ranges, work)


def _survey_range(
    subject: Subject, window_rows: int, probes: Any, reader: tuple[Endpoint, str] | None, store: Store, within: Any
) -> Survey:
    cut = cut_by(proven_model(*reader)) if reader else None
    return survey_range(store, subject, within, window_rows=window_rows, probes=probes.value, k=NEIGHBOURS, cut=cut)


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
        mark = "ok  " if check["passed"] else "FAIL"
        value = "–" if check["value"] is None else f"{check['value']:,.4g}"
        limit = "–" if check["limit"] is None else f"{check['limit']:,.4g}"
        console.say(f"  {mark} {check['name']:<22} {value:>10}  limit {limit:<8} {check['note']}")
    relevance = report["relevance"]
    if relevance:
        for name in ("ndcg@10", "recall@10"):
            console.say(f"  {name}: old {relevance['old'][name]:.4f}, new {relevance['new'][name]:.4f}")
    for clients, ratio in report.get("latency", {}).get("ratio_p95", {}).items():
        old, new = (report["latency"][side][clients]["p95_ms"] for side in ("old", "new"))
        console.say(f"  p95 of a search, {clients} at once: old {old:.1f} ms, new {new:.1f} ms, ratio {ratio:.2f}")
    for name, space in report["space"].items():
        console.say(f"  space {name}: {in_words(Space(**space))}")


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["validate", *sys.argv[1:]]))
