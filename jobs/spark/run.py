"""Running a transfer: plan what is not covered, let Spark do it, halve and repeat what failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jobs.catalog.ranges import Progress, RangeRecord, open_ranges, progress, read_ranges, split_failed
from jobs.errors import CheckFailed, RefusedError, StoreUnavailable
from jobs.spark.embed import embed_rows
from jobs.spark.recording import recorded
from jobs.spark.source import OPTION, EmbedshiftSource, spark_schema
from jobs.spark.transfer import Transfer
from jobs.stores.contract import Store
from jobs.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Seconds between two looks at the catalog while Spark works; more where a look itself takes long, but never above.
_LOOK_SECONDS, _LOOK_SECONDS_MOST = 1.0, 15.0

Report = Callable[[Progress], None]


def run_transfer(
    session: SparkSession,
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
        plan: how to cut the ring where the catalog has nothing of this step.
        attempts: tries of a range; each try halves it.
        report: called every second or so with the progress.
        still_ours: raises where this run has lost the migration.

    Returns:
        The progress with every range done.

    Raises:
        CheckFailed: ranges are left that failed every try; each is in the catalog with its error.
    """
    migration, step = transfer.migration, transfer.step
    left: Sequence[RangeRecord] = open_ranges(store, migration, step, plan)
    before = progress(store, migration, step)
    if not left:
        return before
    report = recorded(transfer, before, report)
    asked: set[TokenRange] = set()
    trouble, tries = "", 0
    while left and tries < attempts:
        if tries:
            left = split_failed(store, migration, step, left)
        asked = {each.range for each in left}
        trouble = _run_job(session, store, transfer, report, still_ours)
        left = [each for each in read_ranges(store, migration, step) if each.state != "done"]
        # What only the tasks themselves have left of their ranges is work to go on with, not a failure.
        tries += any(each.range in asked for each in left)
    summed = progress(store, migration, step)
    report(summed)
    if left:
        raise _left_over([each for each in left if each.range in asked], step, trouble)
    return summed


def _left_over(failed: Sequence[RangeRecord], step: str, trouble: str) -> CheckFailed:
    worst = next((each for each in failed if each.error), failed[0])
    reason = worst.error or trouble or "the task ended without a word"
    return CheckFailed(
        f"{len(failed)} ranges of {step} failed every try, such as {worst.range}: {reason}",
        hint=f"mend the cause and run embedshift {step.partition('/')[0]} again: what is done stays done",
    )


def _run_job(
    session: SparkSession,
    store: Store,
    transfer: Transfer,
    report: Report,
    still_ours: Callable[[], None],
) -> str:
    """One Spark job over all planned ranges. Returns what went wrong with the job as a whole, or nothing.

    The job runs in the calling thread, since Spark finds a Python data source by the thread's session; another thread
    watches, and cancels the job when the migration was lost.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(ended, session, store, transfer, report, still_ours), daemon=True)
    watching.start()
    try:
        _job(session, transfer)
    # A worker that was killed, or an executor lost: ranges without an outcome are tried again.
    except (PySparkException, Py4JError) as error:
        still_ours()
        return f"the Spark job ended early: {_first_cause(str(error))}"
    finally:
        ended.set()
        watching.join()
    still_ours()
    return ""


def _first_cause(text: str) -> str:
    """The line of a Java or Python trace that says most: the last exception of the Python trace, or the first line."""
    lines = [line.strip(": ") for line in text.splitlines() if line.strip() and not line.startswith(("\t", "    at"))]
    python = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (python or lines or ["no reason given"])[-1 if python else 0][:300]


def _watch(
    ended: threading.Event,
    session: SparkSession,
    store: Store,
    transfer: Transfer,
    report: Report,
    still_ours: Callable[[], None],
) -> None:
    pause = _LOOK_SECONDS
    while not ended.wait(pause):
        began = time.monotonic()
        try:
            still_ours()
            report(progress(store, transfer.migration, transfer.step))
        except RefusedError:
            session.sparkContext.cancelAllJobs()
            return
        except StoreUnavailable:
            continue  # it may be back at the next look; if not, the tasks will say so
        pause = min(max(_LOOK_SECONDS, 4 * (time.monotonic() - began)), _LOOK_SECONDS_MOST)


def _job(session: SparkSession, transfer: Transfer) -> None:
    option = transfer.to_json()
    threads = int(session.conf.get("spark.task.cpus", "1") or 1)
    (
        session.read.format(EmbedshiftSource.name())
        .option(OPTION, option)
        .load()
        .mapInArrow(partial(embed_rows, transfer, threads), spark_schema(transfer.layout.schema()))
        .write.format(EmbedshiftSource.name())
        .option(OPTION, option)
        .mode("append")
        .save()
    )
