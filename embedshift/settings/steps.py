"""Settings of the steps, in their order."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from embedshift.settings.values import Duration, Frozen


class LoadSettings(Frozen):
    """Scanning, embedding and writing."""

    ranges: int | Literal["auto"] = Field(
        "auto", description="number of token ranges; auto depends on the table's estimated size"
    )
    batch_tokens: int | Literal["auto"] = Field("auto", description="tokens in one batch through the model")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto chooses the fastest that agrees with float32 on a sample"
    )
    tolerate_dead: int | float = Field(
        0, ge=0, description="dead letters that a run may leave: a number, or, if below 1, a share of the rows"
    )
    attempts: int = Field(4, ge=1, le=20, description="tries of a range; after a failure it is halved")
    task_rows: int | Literal["auto"] = Field(
        "auto",
        description="rows after which a task leaves the rest of its range to other tasks, at the end of a partition; "
        "auto: 1.5 times the average rows of a range, at least 1,000",
    )
    window_rows: int = Field(1024, ge=16, le=65536, description="rows embedded and written at once per task")


class SyncSettings(Frozen):
    """Catch up with the application."""

    passes: int = Field(10, ge=1, description="maximum number of passes before sync gives up")
    until: int = Field(0, ge=0, description="sync ends when a pass finds at most this many differing rows")
    inspect: bool = Field(
        False, description="also read the target's vectors and replace broken ones; this reads every vector"
    )
    clock_skew: Duration = Field(timedelta(seconds=10), description="how far the clocks of writers may be apart")
    change_log: Literal["auto", "off"] = Field(
        "auto",
        description="auto: after a full pass, read the source's change log (ScyllaDB's CDC), if it has one, instead of "
        "the table; off if writers set their own write times",
    )
    change_log_kept: Duration = Field(
        timedelta(hours=24), description="how long the source's change log keeps a change (its TTL)"
    )
    shadowed: Literal["report", "overwrite"] = Field(
        "report",
        description="what to do if a newer delete hides a repaired row: report it, or write it with the present time",
    )


class ValidationSettings(Frozen):
    """The proof before the cutover."""

    questions: Path | None = Field(None, description="JSONL of labelled questions: id, text, relevant {id: grade}")
    confidence: float = Field(
        0.95, ge=0, lt=1, description="confidence of intervals; their lower ends are compared with the limits"
    )
    recall_at_10: float = Field(0.95, ge=0, le=1, description="minimum recall@10 of the index against exact search")
    relevance_drop: float = Field(
        0.05, ge=0, le=1, description="maximum drop of nDCG@10 from old to new, at the lower end of its interval"
    )
    overlap_at_10: float | None = Field(
        None, ge=0, le=1, description="without questions: minimum share of ten answers that old and new have in common"
    )
    self_retrieval: float | None = Field(
        None, ge=0, le=1, description="without questions: minimum share of articles that their own text finds first"
    )
    titles_drop: float | None = Field(
        None, ge=0, le=1, description="without questions: maximum drop of nDCG@10 from old to new, with titles"
    )
    latency_ratio: float | None = Field(
        None, gt=0, description="maximum p95 of a search as a multiple of the old table's; if null, only reported"
    )
    latency_searches: int = Field(
        100, ge=0, le=100_000, description="searches that are timed on each table, by one client and by eight; 0: none"
    )
    latency_time: Duration = Field(
        timedelta(seconds=10), description="maximum time for them, by one client and by eight each"
    )
    truncated: float = Field(1.0, ge=0, le=1, description="maximum share of texts that are longer than the model reads")
    sample: int = Field(
        1000,
        ge=1,
        le=10_000,
        description="articles that are drawn to count their tokens; the probes are chosen from them",
    )
    probes: int = Field(200, ge=1, le=10_000, description="articles whose vectors are searched for, to measure recall")
    reembed_sample: int = Field(
        500, ge=0, le=10_000, description="articles that are embedded again, to compare their vectors"
    )
    unproved: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="maximum share of the rows that are written again before each of three looks",
    )
    seed: int = Field(20_150_601, ge=0, description="seed of all samples: the same seed draws the same articles")
    max_age: Duration = Field(timedelta(hours=1), description="how long a validation is valid")
    report: Path | None = Field(None, description="the file for the JSON record; if null, validation-MIGRATION.json")


class CutoverSettings(Frozen):
    """The cutover."""

    client_cache: Duration = Field(
        timedelta(seconds=5), description="how long clients keep the alias; cutover waits this long after the move"
    )
    drift: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of the rows that may have changed since the validation; all rows are then compared again",
    )
    keep_ready: Duration = Field(
        timedelta(minutes=1),
        description="minimum time between two syncs while a cutover waits for its time or for release",
    )
    hold: Duration = Field(timedelta(hours=24), description="how long cutover --hold waits for release")
    lease: Duration = Field(
        timedelta(seconds=30), description="a run that does not renew its lease for this long loses the migration"
    )


class AuditSettings(Frozen):
    """The daily audit of the live table."""

    tolerate: float = Field(0, ge=0, lt=1, description="share of the rows that may lack a good vector")


class RetireSettings(Frozen):
    """Drop the old table."""

    after: Duration = Field(
        timedelta(hours=24), description="grace time after the cutover, in which rollback is possible"
    )
    watch: Duration = Field(
        timedelta(seconds=10),
        description="how long retire counts reads of the old table, if the servers count them; 0: not at all",
    )
    keep: int | None = Field(
        None,
        ge=0,
        description="upgrade: number of old tables to keep; older ones are retired after their grace time; "
        "if null, all are kept",
    )
