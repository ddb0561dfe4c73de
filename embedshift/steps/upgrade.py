"""One idempotent command for schedulers: bring the alias to a model, from any state."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from embedshift.catalog.alias import Alias, find_alias
from embedshift.catalog.lease import held
from embedshift.catalog.migration import Migration, get_migration, read_migration
from embedshift.catalog.states import label
from embedshift.catalog.versions import between, is_served_by, next_table, open_migration
from embedshift.errors import EmbedshiftError, RefusedError, UsageError
from embedshift.settings import ModelSettings, Settings
from embedshift.steps.context import DryRun, StepContext, StepResult
from embedshift.steps.migrate import MigrateResult, migrate
from embedshift.steps.prepare import MigrationState, prepare
from embedshift.steps.retire import retire_old
from embedshift.times import Window, parse_window

Outcome = Literal["upgraded", "resumed", "already", "not now", "waiting"]


@dataclass(frozen=True, slots=True)
class LiveModel:
    """The alias, and the table and model that serve it; None if there is no alias yet."""

    alias: str
    table: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class UpgradeResult(StepResult):
    """What an upgrade did.

    Args:
        outcome: ``upgraded``, ``resumed``, ``already``, ``not now`` (outside the window), or ``waiting`` (outside the
            window, with an upgrade that goes on in the next one).
        live: the table that the alias names now.
        retired: old tables that were dropped.
        migration: what was worked on.
        steps: the steps that ran.
        opens: when the window opens next, if it is closed.
        next: the command that usually follows.
    """

    outcome: Outcome
    live: LiveModel
    retired: list[str]
    migration: MigrationState | None = None
    steps: list[str] | None = None
    opens: str | None = None
    next: str | None = None

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it; what does not apply is left out."""
        tree = asdict(self)
        live = tree.pop("live")
        return {"outcome": tree.pop("outcome"), **live, **{key: each for key, each in tree.items() if each is not None}}


class _WindowClosed(RefusedError):
    """The window has closed while a step was at work."""


def upgrade(
    context: StepContext,
    *,
    to_model: str | None = None,
    revision: str | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    when: str | None = None,
    dry_run: bool = False,
) -> UpgradeResult | DryRun:
    """Migrate the alias to a model and its next version, resume what was interrupted, or do nothing.

    Args:
        context: what the step works with.
        to_model: the model; None takes ``target.model`` of the settings, with whatever the options leave open.
        revision: its commit or tag.
        query_prompt: put before every question.
        document_prompt: put before every document.
        when: the window (``parse_window``) in which anything is begun or resumed.
        dry_run: say what would be done.

    Raises:
        RefusedError: another run is at work, or there is an open migration that upgrade did not start.
        CheckFailed: a check of a step did not pass; the next call goes on from there.
    """
    try:
        wanted = _wanted(context.settings, to_model, revision=revision, query=query_prompt, document=document_prompt)
        upgrading = _Upgrade(context, wanted, None if when is None else parse_window(when))
        return upgrading.plan() if dry_run else upgrading.run()
    except EmbedshiftError as error:
        if context.console.as_json:
            outcome = "refused" if isinstance(error, RefusedError) else "failed"
            context.console.finish({"outcome": outcome, "error": str(error)})
        raise


def _wanted(
    settings: Settings, name: str | None, *, revision: str | None, query: str | None, document: str | None
) -> ModelSettings:
    """The model that the alias is to have."""
    known = settings.target.model
    if name is None and known is None:
        raise UsageError("no model is named", hint="add --to-model NAME, or set target.model")
    base = known if known is not None and name in (None, known.name) else ModelSettings(name=str(name))
    given = {"revision": revision, "query_prompt": query, "document_prompt": document}
    return base.model_copy(update={key: value for key, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """An alias on its way to a model, within a window if there is one."""

    context: StepContext
    wanted: ModelSettings
    window: Window | None

    def run(self) -> UpgradeResult:
        """Do what is left, if the window is open."""
        running = self._running()
        served = running is None and self._served()
        if not self._may_go_on(running):
            return self._outside("already" if served else "not now" if running is None else "waiting")
        migration: MigrationState | None = None
        done: MigrateResult | None = None
        if served:
            self._say_served()
        else:
            try:
                migration, done = self._migrate(running)
            except _WindowClosed:
                return self._outside("waiting")
        outcome: Outcome = "already" if served else "upgraded" if running is None else "resumed"
        retired = retire_old(self.context)
        steps = None if done is None else list(done.steps)
        return UpgradeResult(outcome, self._live(), retired, migration, steps, next="embedshift status")

    def plan(self) -> DryRun:
        """Say what would be done in the window."""
        running = self._running()
        if running is not None:
            self.context.console.say(f"would resume {running.id}, which is {label(running.state)}")
            return DryRun(would="resume", **asdict(self._live()), target=running.target.table)
        if self._served():
            self._say_served()
            return DryRun(would="nothing", **asdict(self._live()))
        prepared = prepare(self.context.replaced(settings=self._next()), dry_run=True)
        return DryRun(would="upgrade", **asdict(self._live()), **prepared.plain())

    def _say_served(self) -> None:
        alias = self.context.settings.alias
        self.context.console.say(f"the alias {alias} is already served by {self.wanted.name}")

    def _running(self) -> Migration | None:
        """The migration that is open, which must be to the wanted model."""
        running = open_migration(self.context.store, self.context.settings.alias)
        if running is not None and not is_served_by(self.context.store, running.target, self.wanted):
            raise RefusedError(
                f"migration {running.id} to {running.target.model.name} is {label(running.state)}",
                hint="upgrade to that model, or abort the migration with embedshift abort",
            )
        return running

    def _alias(self) -> Alias | None:
        return find_alias(self.context.store, self.context.settings.alias)

    def _served(self) -> bool:
        alias = self._alias()
        return alias is not None and is_served_by(self.context.store, alias.target, self.wanted)

    def _may_go_on(self, running: Migration | None) -> bool:
        """Whether the window is open; a cutover that has moved the alias is ended at any time."""
        if self.window is None or self.window.is_open(datetime.now()):
            return True
        alias = self._alias()
        return running is not None and alias is not None and alias.target.table == running.target.table

    def _migrate(self, running: Migration | None) -> tuple[MigrationState, MigrateResult]:
        """Run every step that is left, as one owner from the first to the last."""
        context = self.context
        settings, store, console = context.settings, context.store, context.console
        if running is None:
            chosen = self._next()
            console.say(f"upgrade {chosen.source.table} to {self.wanted.name}, in {chosen.target.table}")
            prepare(context.replaced(settings=chosen), upgrade=True)
            running = get_migration(store, chosen)
        else:
            chosen = between(settings, running.source, running.target.table, self.wanted)
            console.say(f"resume {running.id}, which is {label(running.state)}")
        migration = running

        def stop() -> None:
            if not self._may_go_on(migration):
                raise _WindowClosed("the window has closed")

        # One JSON object is printed, and it is upgrade's own: not that of a validation that fails.
        inner = copy(console)
        inner.as_json = False
        with held(store, migration, settings.cutover.lease, stop=stop, listener=context.listener) as lease:
            done = migrate(context.replaced(settings=chosen, console=inner, lease=lease))
        assert isinstance(done, MigrateResult)
        return MigrationState(migration.id, read_migration(store, migration.id).state), done

    def _next(self) -> Settings:
        """The settings of a migration into the next version: the source from the alias, all else from the file."""
        settings, alias = self.context.settings, self._alias()
        live = settings.source.table if alias is None else alias.target.table
        target = next_table(self.context.store, settings.alias, live)
        if alias is not None:
            return between(settings, alias.target, target, self.wanted)
        # A table that was never migrated has no alias yet: prepare makes it from what the file says.
        into = settings.target.model_copy(update={"table": target, "model": self.wanted})
        return settings.model_copy(update={"target": into})

    def _outside(self, outcome: Outcome) -> UpgradeResult:
        assert self.window is not None
        opens = self.window.opens(datetime.now()).isoformat(timespec="minutes")
        self.context.console.say(f"outside {self.window}, which opens at {opens}: {outcome}")
        return UpgradeResult(outcome, self._live(), [], opens=opens)

    def _live(self) -> LiveModel:
        alias = self._alias()
        table, model = (alias.target.table, alias.target.model.name) if alias else (None, None)
        return LiveModel(self.context.settings.alias, table, model)
