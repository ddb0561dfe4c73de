"""What every step and operation works with, and what steps return."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from embedshift.catalog import lease as leases
from embedshift.catalog.activity import announced
from embedshift.catalog.lease import Lease, Listener, nobody
from embedshift.catalog.migration import Migration
from embedshift.catalog.vector_table import ModelRecord
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.telemetry.console import Console

if TYPE_CHECKING:
    from pyspark import SparkContext


_STARTING = "starting Spark"


@dataclass(frozen=True, slots=True)
class StepContext:
    """Everything that a step is given.

    Args:
        command: what was typed: ``cutover``, ``dead-letters drop``. Hooks, log and metrics carry it.
        settings: of the migration that is meant.
        store: where the tables and the catalog are.
        console: where the step reports.
        lease: what the caller holds over several steps; None if each step takes its own.
        spark_context: the caller's Spark context; None if the step starts its own.
        listener: is told of each change of state.
    """

    command: str
    settings: Settings
    store: Store
    console: Console
    lease: Lease | None = None
    spark_context: SparkContext | None = None
    listener: Listener = nobody

    def replaced(self, **changes: Any) -> StepContext:
        """The same with some fields changed."""
        return replace(self, **changes)

    @contextmanager
    def owned(self, migration: Migration, step: str) -> Iterator[Lease]:
        """Own a migration while a step runs.

        Raises:
            StateError: the step may not run in the migration's state.
            OwnedByAnother: a living run has it.
        """
        duration = self.settings.cutover.lease
        with leases.owned(self.store, migration, step, duration, lease=self.lease, listener=self.listener) as lease:
            yield lease

    @contextmanager
    def spark(self, migration: str = "", *, model: ModelRecord | None = None) -> Iterator[SparkContext]:
        """The caller's Spark context, or one of this step until the block ends.

        Args:
            migration: whose watchers are told that Spark starts; none if empty.
            model: the model that most tasks will need.

        Raises:
            UnavailableError: Java is missing, or the master does not answer.
        """
        if self.spark_context is not None:
            yield self.spark_context
            return
        from embedshift.spark.context import spark_context

        with ExitStack() as stack:
            with (
                self.console.busy(_STARTING),
                announced(self.store, migration, _STARTING) if migration else nullcontext(),
            ):
                started = stack.enter_context(spark_context(self.settings, self.command, model=model))
            yield started


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step returns: named figures, and in ``next`` the command that usually follows."""

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, init=False)
class DryRun(StepResult):
    """What a step would do, by its names; nothing was changed."""

    found: dict[str, Any]

    def __init__(self, **found: Any) -> None:
        object.__setattr__(self, "found", found)

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return {"dry_run": True, **self.found}


@dataclass(frozen=True, slots=True)
class AliasMove:
    """A move of the alias: the table before and after it, and the alias's version after it."""

    before: str
    after: str
    version: int
