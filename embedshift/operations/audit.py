"""The audit, for a daily schedule: find rows of the live table without a good vector, and compute new vectors."""

from __future__ import annotations

import math
import random
import time
from functools import partial
from typing import Any

from pyspark import SparkContext

from embedshift.catalog.alias import get_alias, history
from embedshift.catalog.migration import migrations
from embedshift.catalog.ranges import forget_step
from embedshift.catalog.vector_table import VectorTable, reached
from embedshift.errors import CheckFailed, UsageError
from embedshift.settings import Settings
from embedshift.settings.values import parse_share
from embedshift.spark.aggregate import aggregate
from embedshift.spark.allowance import counted_models
from embedshift.spark.dead_letters import check_dead_letters, settle_dead_letters
from embedshift.spark.ranges import plan_ranges
from embedshift.spark.run import run_transfer
from embedshift.spark.transfer import reachable, transfer_in_place
from embedshift.steps.context import StepContext
from embedshift.stores.contract import Store
from embedshift.stores.model import Table
from embedshift.telemetry.console import Console
from embedshift.times import now_us
from embedshift.tokens import WHOLE_RING, TokenRange
from embedshift.validation.audit import Audit, Audited, audit_range

#: The ring is cut into this many parts before a sample of them is drawn.
_PARTS = 1000


def audit(context: StepContext, *, repair: bool = False, sample: str = "100%") -> dict[str, Any]:
    """Count the rows of the live table whose vector is missing, broken, or of another text or model.

    Args:
        repair: compute vectors for them again, delete vectors without a text, and count again.
        sample: how much of the ring is read: ``1%``, or a share such as ``0.01``.

    Raises:
        CheckFailed: more rows are faulty, after the repair if there was one, than ``audit.tolerate`` allows.
        StateError: there is no such alias.
    """
    settings, store, console = context.settings, context.store, context.console
    share = parse_share(sample)
    if repair and share < 1:
        raise UsageError("a repair reads the whole table", hint="leave --sample out, or --repair")
    vector_table = get_alias(store, settings.alias).target
    table = store.describe(vector_table.table)
    part = f", {share:.2%} of the table" if share < 1 else ""
    console.say(f"audit of {table.name}, model {vector_table.model.name}{part}")
    started = time.monotonic()
    if vector_table.model.service is not None:
        # It may have become another model; the digests would not show that.
        with counted_models(store, f"audit-{table.name}", "") as model_of:
            model_of(reached(vector_table, settings), "auto")
    with context.spark(model=vector_table.model if repair else None) as spark:
        audited = _audited(settings, store, vector_table, table)
        found = _audit(settings, store, spark, audited, share)
        _say(found, audited, console)
        repaired = 0
        if repair and found.faulty:
            repaired = _repair(settings, store, spark, console, vector_table)
            found = _audit(settings, store, spark, audited, share)
            console.say(f"repaired {repaired:,} rows, and counted again:")
            _say(found, audited, console)
    allowed = settings.audit.tolerate * found.rows
    result = {
        "table": table.name,
        "model": vector_table.model.name,
        "share": share,
        "rows": found.rows,
        "with_text": found.with_text,
        "faults": found.faults,
        "faulty": found.faulty,
        "repaired": repaired,
        "examples": found.examples.of,
        "tolerated": math.floor(allowed),
        "seconds": round(time.monotonic() - started, 3),
    }
    if found.faulty > allowed:
        if console.as_json:
            console.finish(result)
        raise CheckFailed(
            f"{found.faulty:,} of {found.rows:,} rows of {table.name} have no good vector",
            hint="see the rows above" if repair else "run embedshift audit --repair",
        )
    return result


def _audited(settings: Settings, store: Store, vector_table: VectorTable, table: Table) -> Audited:
    moves = [VectorTable.from_json(move["target"]) for move in history(store, settings.alias)]
    known = [*moves, *(end for each in migrations(store, settings.alias) for end in (each.source, each.target))]
    former = {each.model.fingerprint for each in known} - {vector_table.model.fingerprint}
    return Audited(
        table,
        vector_table.text,
        vector_table.vector,
        vector_table.model.fingerprint,
        vector_table.model.dimension,
        vector_table.model.normalize,
        tuple(sorted(former)),
    )


def _audit(settings: Settings, store: Store, spark: SparkContext, audited: Audited, share: float) -> Audit:
    ranges = plan_ranges(store, audited.table.name, settings.load.ranges)
    if share < 1:
        parts = WHOLE_RING.split(_PARTS)
        ranges = sorted(random.Random().sample(parts, max(1, round(share * len(parts)))))
    work = partial(_audit_range, audited, settings.load.window_rows)
    return aggregate(spark, reachable(settings.store), ranges, work)


def _audit_range(audited: Audited, window_rows: int, store: Store, within: TokenRange) -> Audit:
    return audit_range(store, audited, within, window_rows=window_rows)


def _repair(settings: Settings, store: Store, spark: SparkContext, console: Console, vector_table: VectorTable) -> int:
    """Run a transfer from the table into itself, which writes what is wrong. Returns the number of rows written."""
    step = f"audit/{now_us()}"
    transfer = transfer_in_place(settings, store, vector_table, step)
    ranges = plan_ranges(store, vector_table.table, settings.load.ranges)
    with console.watching("repair", store.estimate(vector_table.table).rows) as watch:
        done = run_transfer(
            spark,
            store,
            transfer,
            ranges,
            attempts=settings.load.attempts,
            report=watch.show,
            still_ours=lambda: None,
        )
    letters = settle_dead_letters(store, transfer)
    forget_step(store, transfer.migration, step)
    check_dead_letters(letters, done.counts.read, settings.load.tolerate_dead)
    return done.counts.written


def _say(found: Audit, audited: Audited, console: Console) -> None:
    console.say(f"{found.rows:,} rows, {found.with_text:,} with text")
    for name, number in found.faults.items():
        if number:
            examples = ", ".join(str(next(iter(key.values()))) for key in found.examples.of.get(name, ()))
            console.say(f"  {name:<16} {number:>10,}  for example {examples}")
    if not audited.digests:
        console.say("  the table has no digests, so it is unknown whether a vector is of the current text")
