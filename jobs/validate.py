"""Step 5, validate: prove that the target is complete, that its index finds, and that the new model is no worse."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from jobs.catalog.dead_letters import read_dead_letters
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.migration import Migration, get_migration, owned
from jobs.catalog.models import proven_model
from jobs.catalog.tables import now_us
from jobs.catalog.validations import write_validation
from jobs.console import Console
from jobs.errors import CheckFailed, UnavailableError
from jobs.quality.agreement import agreement
from jobs.quality.checks import Check, checks, row_checks
from jobs.quality.content import Content, content_of
from jobs.quality.findings import Survey
from jobs.quality.probes import sample_probes
from jobs.quality.questions import Question, known_articles, read_questions
from jobs.quality.recall import Recall, recall_at, search_index
from jobs.quality.record import record
from jobs.quality.relevance import Relevance, compare, ranked_ids
from jobs.quality.subject import Subject
from jobs.quality.survey import survey_range
from jobs.settings import Settings
from jobs.spark.plan import plan_ranges
from jobs.spark.session import spark_session
from jobs.spark.spread import spread
from jobs.spark.transfer import reachable
from jobs.stores.contract import Store

#: How deep the index is compared with exact search, and answers are judged.
DEPTH = 10
_SEED = 20_150_601


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
        spark_session(settings, "validate") as session,
    ):
        report = _examine(settings, store, session, migration, questions)
        write_validation(store, migration.id, passed=report["passed"], content=report["content"], report=report)
        ownership.change(state="validated" if report["passed"] else "synced")
    path = _write(report, settings, migration)
    _say(report, console)
    console.say(f"report: {path}")
    if not report["passed"]:
        failed = [check["name"] for check in report["checks"] if not check["passed"]]
        if console.as_json:
            console.finish(report)
        raise CheckFailed(f"validation of {migration.target.table} failed: {', '.join(failed)}", hint=f"see {path}")
    return {**report, "report": str(path), "next": "embedshift cutover"}


@dataclass(frozen=True, slots=True)
class _Probes:
    """Vectors whose neighbours are compared: those of the questions, and of a sample of the rows."""

    vectors: NDArray[np.float32]
    own: list[bytes | None]


def _examine(
    settings: Settings, store: Store, session: SparkSession, migration: Migration, questions: list[Question]
) -> dict[str, Any]:
    subject = subject_of(store, migration)
    timings: dict[str, float] = {}
    started_us, clock = now_us(), time.monotonic()
    probes = _probes(settings, store, subject, migration.target, questions)
    survey = _survey(settings, store, session, subject, probes)
    # Right after the survey: an index that is counted later has lost, or gained, what the application wrote since.
    index_rows = store.index_state(migration.target.index).rows
    timings["survey"], clock = time.monotonic() - clock, time.monotonic()
    recalls = _recalls(store, subject, migration.target, survey, probes)
    timings["recall"], clock = time.monotonic() - clock, time.monotonic()
    relevance = _relevance(settings, store, migration, questions)
    timings["relevance"], clock = time.monotonic() - clock, time.monotonic()
    agreed = agreement(
        store,
        subject,
        proven_model(migration.target, settings.target_model.device),
        settings.validation.embedded_again,
        _SEED,
    )
    timings["agreement"] = time.monotonic() - clock
    dead = sum(1 for _ in read_dead_letters(store, migration.id))
    outcome = checks(
        survey,
        next((each for each in recalls if each.k == DEPTH), None),
        relevance,
        settings.validation,
        dead,
        settings.load.tolerate_dead,
        index_rows=index_rows,
        agreement=agreed,
    )
    models = {"old": migration.source.model.name, "new": migration.target.model.name}
    more = {"migration": migration.id, "models": models, "questions": len(questions), "started_us": started_us}
    return record(outcome, survey, recalls, relevance, timings=timings, more=more)


def subject_of(store: Store, migration: Migration) -> Subject:
    """What is validated, in the words of the quality room."""
    return Subject(
        source=store.describe(migration.source.table),
        target=store.describe(migration.target.table),
        text=migration.source.text,
        source_vector=migration.source.vector,
        target_vector=migration.target.vector,
        fingerprint=migration.target.model.fingerprint,
        dimension=migration.target.model.dimension,
        normalized=migration.target.model.normalize,
        metric=migration.target.index_options.metric,
        source_digests=migration.source.digests,
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


def _probes(settings: Settings, store: Store, subject: Subject, target: Endpoint, questions: list[Question]) -> _Probes:
    vectors, keys = sample_probes(store, subject, settings.validation.probes, _SEED)
    if not questions:
        return _Probes(vectors, list(keys))
    model = proven_model(target, settings.target_model.device)
    asked = np.stack([model.embed_question(question.text) for question in questions])
    return _Probes(np.concatenate([asked, vectors]), [*[None] * len(questions), *keys])


def _survey(
    settings: Settings, store: Store, session: SparkSession, subject: Subject, probes: _Probes | None
) -> Survey:
    ranges = plan_ranges(store, subject.source.name, settings.load.ranges)
    work = partial(
        _survey_range, subject, settings.load.window_rows, session.sparkContext.broadcast(probes and probes.vectors)
    )
    return spread(session, reachable(settings.store), ranges, work)


def _survey_range(subject: Subject, window_rows: int, probes: Any, store: Store, within: Any) -> Survey:
    return survey_range(store, subject, within, window_rows=window_rows, probes=probes.value, k=DEPTH + 1)


def _recalls(store: Store, subject: Subject, target: Endpoint, survey: Survey, probes: _Probes) -> list[Recall]:
    found = search_index(store, subject, target.index, probes.vectors, DEPTH + 1)
    return [recall_at(survey.nearest, found, k, own=probes.own) for k in (1, DEPTH)]


def _relevance(settings: Settings, store: Store, migration: Migration, questions: list[Question]) -> Relevance | None:
    if not questions:
        return None
    source = store.describe(migration.source.table)
    known = known_articles(store, source, migration.source.id, questions)
    old = _answers(store, migration.source, settings.source.model.device, questions)
    new = _answers(store, migration.target, settings.target_model.device, questions)
    return compare(questions, old, new, known=known)


def _answers(store: Store, endpoint: Endpoint, device: str, questions: list[Question]) -> dict[str, list[str]]:
    model, table = proven_model(endpoint, device), store.describe(endpoint.table)
    values = [] if any(key.name == endpoint.id for key in table.keys) else [endpoint.id]
    return {
        question.id: ranked_ids(
            store.search(table, endpoint.index, model.embed_question(question.text), DEPTH, values=values),
            table,
            endpoint.id,
        )
        for question in questions
    }


def _write(report: dict[str, Any], settings: Settings, migration: Migration) -> Path:
    path = settings.validation.report or Path(f"validation-{migration.id}.json")
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


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["validate", *sys.argv[1:]]))
