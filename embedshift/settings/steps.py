"""Settings of the steps, in their order."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from embedshift.settings.values import Duration, Frozen


class LoadSettings(Frozen):
    """Scanning, embedding and writing."""

    ranges: int | Literal["auto"] = Field("auto", description="token ranges; auto goes by the table's estimated size")
    batch_tokens: int | Literal["auto"] = Field("auto", description="tokens in one batch through the model")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto takes the fastest that agrees with float32 on a sample"
    )
    tolerate_dead: int | float = Field(
        0, ge=0, description="dead letters that a run may leave: a number, or below 1 a share of the rows"
    )
    attempts: int = Field(4, ge=1, le=20, description="tries of a failed range; each try halves it")
    task_rows: int | Literal["auto"] = Field(
        "auto",
        description="rows after which a task leaves the rest of its range to others, at the end of a partition; auto: "
        "half as many again as ranges hold on average, at least 1,000",
    )
    window_rows: int = Field(1024, ge=16, le=65536, description="rows held in memory at once, for each task")


class SyncSettings(Frozen):
    """Catching up with the application."""

    passes: int = Field(10, ge=1, description="most passes before sync gives up on a table that never rests")
    until: int = Field(0, ge=0, description="the difference at which a pass counts as clean")
    inspect: bool = Field(
        False, description="read the target's vectors too, and make broken ones anew; costs reading every vector"
    )
    clock_skew: Duration = Field(timedelta(seconds=10), description="how far the clocks of writers may be apart")
    change_log: Literal["auto", "off"] = Field(
        "auto",
        description="auto: where the source has one (ScyllaDB's CDC), passes after a whole one read it instead of the "
        "table; off where writers state times of their own",
    )
    change_log_kept: Duration = Field(
        timedelta(hours=24), description="how long the source's change log keeps a change: its ttl"
    )
    shadowed: Literal["report", "overwrite"] = Field(
        "report",
        description="a repair below a newer deletion changes nothing: say so, or write it with the present time",
    )


class ValidationSettings(Frozen):
    """The proof before the switch."""

    questions: Path | None = Field(None, description="JSONL of labelled questions: id, text, relevant {id: grade}")
    confidence: float = Field(
        0.95, ge=0, lt=1, description="of every interval; recall and relevance must hold at its lower end"
    )
    recall_at_10: float = Field(0.95, ge=0, le=1, description="least recall@10 of the index against exact search")
    relevance_drop: float = Field(
        0.05, ge=0, le=1, description="most that nDCG@10 may fall from old to new, at the lower end of its interval"
    )
    overlap_at_10: float | None = Field(
        None, ge=0, le=1, description="without questions: least share of ten answers that old and new have in common"
    )
    self_retrieval: float | None = Field(
        None, ge=0, le=1, description="without questions: least share of articles that their own text finds first"
    )
    titles_drop: float | None = Field(
        None, ge=0, le=1, description="without questions: most that nDCG@10 of titles may fall from old to new"
    )
    latency_ratio: float | None = Field(
        None, gt=0, description="most that the new table's p95 of a search may be of the old one's; reported where null"
    )
    latency_searches: int = Field(
        100, ge=0, le=100_000, description="searches timed of each table, by one client and by eight; 0: none"
    )
    latency_time: Duration = Field(
        timedelta(seconds=10), description="no further search is timed after so long, by one client or by eight"
    )
    truncated: float = Field(
        1.0, ge=0, le=1, description="largest share of texts that may be longer than the model reads"
    )
    sample: int = Field(
        1000, ge=1, le=10_000, description="articles drawn to count their tokens; probes are chosen among them"
    )
    probes: int = Field(200, ge=1, le=10_000, description="articles whose vectors are searched for, to measure recall")
    reembed_sample: int = Field(
        500, ge=0, le=10_000, description="articles embedded once more, to compare their vectors"
    )
    seed: int = Field(20_150_601, ge=0, description="of every sample: the same seed draws the same articles")
    max_age: Duration = Field(timedelta(hours=1), description="how long a validation holds")
    report: Path | None = Field(None, description="where the JSON record goes; validation-MIGRATION.json where null")


class CutoverSettings(Frozen):
    """The switch."""

    client_cache: Duration = Field(
        timedelta(seconds=5), description="how long clients keep the alias; waited for after it"
    )
    drift: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of the rows that may have changed since the validation, if every row compares well again",
    )
    keep_ready: Duration = Field(
        timedelta(minutes=1), description="shortest rest between two syncs while a cutover waits for its time or word"
    )
    hold: Duration = Field(timedelta(hours=24), description="how long cutover --hold waits for the word")
    lease: Duration = Field(
        timedelta(seconds=30), description="a run that is silent for so long no longer owns a migration"
    )


class AuditSettings(Frozen):
    """The daily look at the live table."""

    tolerate: float = Field(0, ge=0, lt=1, description="share of the rows that may be without a good vector")


class RetireSettings(Frozen):
    """The end of the old table."""

    after: Duration = Field(timedelta(hours=24), description="grace time after the cutover: so long rollback is open")
    watch: Duration = Field(
        timedelta(seconds=10),
        description="how long retire counts reads of the old table, where the servers count them; 0: not at all",
    )
    keep: int | None = Field(
        None,
        ge=0,
        description="upgrade: old tables that stay beside the live one; older ones are retired after their grace time; "
        "all stay where null",
    )
