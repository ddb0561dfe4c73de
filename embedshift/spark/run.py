"""Run a transfer: plan what is not covered, let Spark do it, halve and repeat what failed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from embedshift.catalog.activity import activity_of, announced
from embedshift.catalog.ranges import Progress, RangeRecord, open_ranges, progress, read_ranges, split_failed
from embedshift.catalog.stop import forget_stops, read_stop
from embedshift.errors import CheckFailed, EmbedshiftError, StoreUnavailable
from embedshift.spark.job import Job
from embedshift.spark.task import carry_ranges
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.telemetry import metrics
from embedshift.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark import SparkContext


_LOG = logging.getLogger(__name__)
#: Seconds between two log lines on the progress.
_LINE_S = 30.0


def recorded(transfer: Transfer, before: Progress, report: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """A report that also logs and counts the progress.

    Args:
        before: the progress before this run, which earlier runs have counted.
    """
    told = {"migration": transfer.migration, "step": transfer.step}
    step, seen, spoken = metrics.step_label(transfer.step), before, time.monotonic()
    _LOG.info("ranges to carry", extra={**told, "known": before.ranges, "done": before.done})

    def look(now: Progress) -> None:
        nonlocal seen, spoken
        report(now)
        _count(step, seen, now)
        seen = now
        if now.complete or time.monotonic() - spoken >= _LINE_S:
            spoken = time.monotonic()
            ranges = {"ranges": now.ranges, "done": now.done, "failed": now.failed}
            _LOG.info("ranges carried", extra={**told, **ranges, **asdict(now.counts)})

    return look


def _count(step: str, seen: Progress, now: Progress) -> None:
    for outcome in ("written", "unchanged", "dead", "deleted", "shadowed"):
        more = getattr(now.counts, outcome) - getattr(seen.counts, outcome)
        # Ranges with dead letters are planned again, so that their former counts are gone from the catalog.
        metrics.count(metrics.ROWS, max(0, more), step=step, outcome=outcome)
    metrics.count(metrics.RANGES_DONE, max(0, now.done - seen.done), step=step)
    metrics.count(metrics.FAILURES, max(0, now.failed - seen.failed), step=step)


#: Seconds between two reads of the catalog while Spark works; more if a read takes long, up to a maximum.
_LOOK_SECONDS, _LOOK_SECONDS_MOST = 2.0, 15.0
#: What takes time before the first row.
_STARTING = "starting the workers and loading the model"
#: How long a cancelled job is waited for.
_CANCEL_S = 10.0
Report = Callable[[Progress], None]


def run_transfer(
    spark: SparkContext,
    store: Store,
    transfer: Transfer,
    plan: Iterable[TokenRange],
    *,
    attempts: int,
    report: Report,
    still_ours: Callable[[], None],
) -> Progress:
    """Carry every range of a step that is not done yet.

    Args:
        plan: how to cut the ring if the catalog has nothing of this step.
        attempts: tries of a range; each try halves it.
        report: is called about every two seconds with the progress.
        still_ours: raises if this run has lost the migration.

    Returns:
        The progress with every range done.

    Raises:
        CheckFailed: some ranges failed every try; the catalog has the error of each.
        EmbedshiftError: what a task met ends the whole run.
    """
    migration, step = transfer.migration, transfer.step
    left: Sequence[RangeRecord] = open_ranges(store, migration, step, plan)
    before = progress(store, migration, step)
    if not left:
        return before
    report = recorded(transfer, before, report)
    forget_stops(store, migration)
    with announced(store, migration, _STARTING):
        report(replace(before, doing=_STARTING))
        job = partial(_run_job, spark, store, transfer, report, still_ours)
        failed, trouble = _attempted(job, store, transfer, left, attempts)
    summed = progress(store, migration, step)
    report(summed)
    if failed:
        raise _left_over(failed, step, trouble)
    return summed


def _attempted(
    job: Callable[[], str], store: Store, transfer: Transfer, left: Sequence[RangeRecord], attempts: int
) -> tuple[list[RangeRecord], str]:
    """Run jobs until no range is left, or those left have failed so many tries; each try halves them.

    Returns:
        The ranges that failed every try, and what went wrong with the last job as a whole.
    """
    migration, step = transfer.migration, transfer.step
    asked: set[TokenRange] = set()
    trouble, tries = "", 0
    while left and tries < attempts:
        if tries:
            left = split_failed(store, migration, step, left)
        asked = {each.range for each in left}
        trouble = job()
        left = [each for each in read_ranges(store, migration, step) if each.state != "done"]
        # If the tasks only left rests of their ranges, that is work to continue with, not a failure.
        tries += any(each.range in asked for each in left)
    return [each for each in left if each.range in asked], trouble


def _command(step: str) -> str:
    """Which command runs a step: that of the way back has another name."""
    name = step.partition("/")[0]
    return "rollback" if name == "back" else name


def _left_over(failed: Sequence[RangeRecord], step: str, trouble: str) -> CheckFailed:
    worst = next((each for each in failed if each.error), failed[0])
    reason = worst.error or trouble or "the task ended without an outcome"
    return CheckFailed(
        f"{len(failed)} ranges of {step} failed every try, such as {worst.range}: {reason}",
        hint=f"fix the cause and run embedshift {_command(step)} again: what is done stays done",
    )


def _run_job(
    spark: SparkContext,
    store: Store,
    transfer: Transfer,
    report: Report,
    still_ours: Callable[[], None],
) -> str:
    """One Spark job over all planned ranges. Returns what went wrong with the job as a whole, or an empty text.

    The job runs in another thread, and the calling thread watches it: so Ctrl-C never strikes in the middle of a call
    of the JVM, which would have to end before anything else could be asked of it.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    job = Job(lambda: run_job(spark, store, transfer))
    job.start()
    try:
        _watch(job, store, transfer, report, still_ours)
    except EmbedshiftError:
        spark.cancelJobGroup(transfer.step)
        job.join(_CANCEL_S)
        raise
    still_ours()
    _check_stop(store, transfer)
    # A worker was killed, or an executor was lost: ranges without an outcome are tried again.
    if isinstance(job.error, (PySparkException, Py4JError)):
        return f"the Spark job ended early: {_first_cause(str(job.error))}"
    if job.error is not None:
        raise job.error
    return ""


def _first_cause(text: str) -> str:
    """The most useful line of a Java or Python trace: the last exception of the Python trace, or the first line."""
    lines = [line.strip(": ") for line in text.splitlines() if line.strip() and not line.startswith(("\t", "    at"))]
    python = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (python or lines or ["no reason given"])[-1 if python else 0][:300]


def _watch(
    job: threading.Thread, store: Store, transfer: Transfer, report: Report, still_ours: Callable[[], None]
) -> None:
    """Report the progress until the job has ended. Raises EmbedshiftError if the run is over before that."""
    pause = _LOOK_SECONDS
    while _goes_on(job, pause):
        began = time.monotonic()
        try:
            still_ours()
            _check_stop(store, transfer)
            report(_progress_now(store, transfer))
        except StoreUnavailable:
            continue  # it may answer at the next read; if not, the tasks will fail
        pause = min(max(_LOOK_SECONDS, 4 * (time.monotonic() - began)), _LOOK_SECONDS_MOST)


def _check_stop(store: Store, transfer: Transfer) -> None:
    if (error := read_stop(store, transfer.migration, transfer.owner)) is not None:
        raise error


def _goes_on(job: threading.Thread, seconds: float) -> bool:
    job.join(seconds)
    return job.is_alive()


def _progress_now(store: Store, transfer: Transfer) -> Progress:
    known = progress(store, transfer.migration, transfer.step)
    activity = activity_of(store, transfer.migration, transfer.step)
    return replace(known, under_way=activity.rows, doing=activity.doing)


def run_job(spark: SparkContext, store: Store, transfer: Transfer) -> None:
    """One task for each planned range. No row of a table enters the JVM: a task gets its range and does everything."""
    ranges = [(each.range.start, each.range.end, each.attempts + 1) for each in planned_ranges(store, transfer)]
    threads = int(spark.getConf().get("spark.task.cpus", "1") or 1)
    # A task that is cancelled is interrupted, and its worker ends with it.
    spark.setJobGroup(transfer.step, f"embedshift {transfer.step}", interruptOnCancel=True)
    spark.parallelize(ranges, len(ranges)).foreachPartition(partial(carry_ranges, transfer, threads))


def planned_ranges(store: Store, transfer: Transfer) -> list[RangeRecord]:
    """The planned ranges of the catalog, shuffled so that neighbours on one replica are not loaded together."""
    # read_ranges goes bucket by bucket, and buckets are chosen by a hash: that is the shuffle.
    return [each for each in read_ranges(store, transfer.migration, transfer.step) if each.state == "planned"]
