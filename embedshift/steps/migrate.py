"""The whole way: prepare, load, sync, index, sync, validate, cutover, from where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from embedshift.catalog.migration import get_migration
from embedshift.catalog.states import ORDER, STATES, is_done, label
from embedshift.errors import StateError, UsageError
from embedshift.steps.context import DryRun, StepContext, StepResult
from embedshift.steps.cutover import cutover
from embedshift.steps.index import index
from embedshift.steps.load import load
from embedshift.steps.prepare import prepare
from embedshift.steps.sync import sync
from embedshift.steps.validate import validate

_STEPS: dict[str, Callable[[StepContext], StepResult]] = {
    "load": load,
    "sync": sync,
    "index": index,
    "validate": validate,
    "cutover": cutover,
}
#: The steps of ``ORDER`` that it runs; what comes later is another day's.
_NAMES = ORDER[: ORDER.index("cutover") + 1]
#: The first of two steps of one name, in the result.
_NAMED = {_NAMES.index("sync"): "sync_before_index"}


@dataclass(frozen=True, slots=True)
class MigrateResult(StepResult):
    """The results of the steps that ran, by their names; the sync before the index is ``sync_before_index``."""

    steps: dict[str, StepResult] = field(default_factory=dict)
    seconds: float = 0.0
    next: str = ""

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        steps = {name: result.plain() for name, result in self.steps.items()}
        return {"steps": steps, "seconds": self.seconds, "next": self.next}


def migrate(context: StepContext, *, dry_run: bool = False, until: str = "cutover") -> MigrateResult | DryRun:
    """Run the steps in order, up to ``until``; what is already done is not repeated.

    Raises:
        UsageError: there is no step ``until``.
        StateError: the migration was rolled back, so that somebody must decide first.
    """
    console = context.console
    if until not in _NAMES:
        raise UsageError(
            f"migrate has no step {until}", hint=f"--until takes one of {', '.join(dict.fromkeys(_NAMES))}"
        )
    if dry_run:
        console.say(f"migrate runs {', '.join(_NAMES)}, up to {until}")
        return DryRun(prepare=prepare(context, dry_run=True).plain())
    started = time.monotonic()
    console.title("prepare")
    done: dict[str, StepResult] = {"prepare": prepare(context)}
    migration = get_migration(context.store, context.settings)
    if migration.state in ("switched", "closed"):
        console.say("the alias already points to the new table")
        return MigrateResult(done, next="embedshift retire")
    if STATES[migration.state].decide:
        raise StateError(
            f"the migration is {label(migration.state)}", hint="fix the reason, then run the remaining steps one by one"
        )
    embeds = migration.state == "prepared" and not migration.copies_vectors
    with context.spark(migration.id, model=migration.target.model if embeds else None) as spark:
        context = context.replaced(spark_context=spark)
        last = max(place for place, name in enumerate(_NAMES) if name == until)
        for place, name in enumerate(_NAMES[1 : last + 1], 1):
            if not is_done(place, get_migration(context.store, context.settings).state):
                console.title(name)
                done[_NAMED.get(place, name)] = _STEPS[name](context)
    following = str(getattr(list(done.values())[-1], "next", ""))
    return MigrateResult(done, round(time.monotonic() - started, 3), following)
