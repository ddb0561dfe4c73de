"""One idempotent command for schedulers: bring the alias to a model, from wherever things stand."""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.catalog.alias import Alias, find_alias
from jobs.catalog.holding import held
from jobs.catalog.migration import Migration, get_migration, read_migration
from jobs.catalog.versions import between, is_served_by, next_table, open_migration
from jobs.catalog.window import Window, parse_window
from jobs.console import Console
from jobs.errors import EmbedshiftError, RefusedError, UsageError
from jobs.migrate import migrate
from jobs.prepare import prepare
from jobs.retire import retire_old
from jobs.settings import ModelSettings, Settings
from jobs.stores.contract import Store


class _WindowClosed(RefusedError):
    """The window has closed while a step was at work."""


def upgrade(
    settings: Settings,
    store: Store,
    console: Console,
    *,
    to_model: str | None = None,
    revision: str | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    when: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Migrate the alias to a model and its next version, go on with what was interrupted, or do nothing.

    Args:
        to_model: the model; ``target.model`` of the settings where None, which also gives what is not said of it.
        when: the window (``parse_window``) in which anything is begun or gone on with.

    Returns:
        ``outcome``: ``upgraded``, ``resumed``, ``already``, ``not now`` (outside the window), or ``waiting`` (outside
        the window, with an upgrade that goes on in the next one); the alias's table and model; old tables retired.

    Raises:
        RefusedError: another run is at it, or a migration that is not ours to end stands in the way.
        CheckFailed: a check of a step did not pass; the next call goes on from there.
    """
    try:
        wanted = _wanted(settings, to_model, revision=revision, query=query_prompt, document=document_prompt)
        upgrading = _Upgrade(settings, store, console, wanted, None if when is None else parse_window(when))
        return upgrading.plan() if dry_run else upgrading.run()
    except EmbedshiftError as error:
        if console.as_json:
            outcome = "refused" if isinstance(error, RefusedError) else "failed"
            console.finish({"outcome": outcome, "error": str(error)})
        raise


def _wanted(
    settings: Settings, name: str | None, *, revision: str | None, query: str | None, document: str | None
) -> ModelSettings:
    """The model that the alias is to have."""
    known = settings.target.model
    if name is None and known is None:
        raise UsageError("no model is named", hint="say --to-model NAME, or set target.model")
    base = known if known is not None and name in (None, known.name) else ModelSettings(name=str(name))
    said = {"revision": revision, "query_prompt": query, "document_prompt": document}
    return base.model_copy(update={key: value for key, value in said.items() if value is not None})


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """An alias on its way to a model, within a window where there is one."""

    settings: Settings
    store: Store
    console: Console
    wanted: ModelSettings
    window: Window | None

    def run(self) -> dict[str, Any]:
        """Do what is left, where the window is open."""
        running = self._running()
        served = running is None and self._served()
        if not self._may_go_on(running):
            return self._outside("already" if served else "not now" if running is None else "waiting")
        done: dict[str, Any] = {}
        if served:
            self.console.say(f"the alias {self.settings.alias} is served by {self.wanted.name} already")
        else:
            try:
                done = self._migrate(running)
            except _WindowClosed:
                return self._outside("waiting")
        outcome = "already" if served else "upgraded" if running is None else "resumed"
        retired = retire_old(self.settings, self.store, self.console)
        return {"outcome": outcome, **self._live(), **done, "retired": retired, "next": "embedshift status"}

    def plan(self) -> dict[str, Any]:
        """Say what would be done in the window."""
        running = self._running()
        if running is not None:
            self.console.say(f"would go on with {running.id}, which is {_words(running)}")
            return {"dry_run": True, "would": "resume", **self._live(), "target": running.target.table}
        if self._served():
            self.console.say(f"the alias {self.settings.alias} is served by {self.wanted.name} already")
            return {"dry_run": True, "would": "nothing", **self._live()}
        prepared = prepare(self._next(), self.store, self.console, dry_run=True)
        return {"would": "upgrade", **self._live(), **prepared}

    def _running(self) -> Migration | None:
        """The migration that is open, which must be to the wanted model."""
        running = open_migration(self.store, self.settings.alias)
        if running is not None and not is_served_by(running.target, self.wanted):
            raise RefusedError(
                f"migration {running.id} to {running.target.model.name} is {_words(running)}",
                hint="upgrade to that model, or give the migration up with embedshift abort",
            )
        return running

    def _alias(self) -> Alias | None:
        return find_alias(self.store, self.settings.alias)

    def _served(self) -> bool:
        alias = self._alias()
        return alias is not None and is_served_by(alias.target, self.wanted)

    def _may_go_on(self, running: Migration | None) -> bool:
        """Whether the window is open; a cutover that has moved the alias is ended at any time."""
        if self.window is None or self.window.is_open(datetime.now()):
            return True
        alias = self._alias()
        return running is not None and alias is not None and alias.target.table == running.target.table

    def _migrate(self, running: Migration | None) -> dict[str, Any]:
        """Run every step that is left, as one owner from the first to the last."""
        if running is None:
            chosen = self._next()
            self.console.say(f"upgrade {chosen.source.table} to {self.wanted.name}, in {chosen.target.table}")
            prepare(chosen, self.store, self.console, upgrade=True)
            running = get_migration(self.store, chosen)
        else:
            chosen = between(self.settings, running.source, running.target.table, self.wanted)
            self.console.say(f"go on with {running.id}, which is {_words(running)}")
        migration = running

        def stop() -> None:
            if not self._may_go_on(migration):
                raise _WindowClosed("the window has closed")

        # One JSON object is printed, and it is upgrade's own: not that of a validation that fails.
        inner = copy(self.console)
        inner.as_json = False
        with held(self.store, migration, self.settings.cutover.lease, stop):
            done = migrate(chosen, self.store, inner)
        state = read_migration(self.store, migration.id).state
        return {"migration": {"id": migration.id, "state": state}, "steps": list(done["steps"])}

    def _next(self) -> Settings:
        """The settings of a migration into the next version: the source from the alias, all else from the file."""
        alias = self._alias()
        live = self.settings.source.table if alias is None else alias.target.table
        target = next_table(self.store, self.settings.alias, live)
        if alias is not None:
            return between(self.settings, alias.target, target, self.wanted)
        # A table that was never migrated has no alias yet: prepare makes it, of what the file says.
        into = self.settings.target.model_copy(update={"table": target, "model": self.wanted})
        return self.settings.model_copy(update={"target": into})

    def _outside(self, outcome: str) -> dict[str, Any]:
        assert self.window is not None
        opens = self.window.opens(datetime.now()).isoformat(timespec="minutes")
        self.console.say(f"outside {self.window.text}, which opens at {opens}: {outcome}")
        return {"outcome": outcome, **self._live(), "opens": opens, "retired": []}

    def _live(self) -> dict[str, Any]:
        alias = self._alias()
        table, model = (alias.target.table, alias.target.model.name) if alias else (None, None)
        return {"alias": self.settings.alias, "table": table, "model": model}


def _words(migration: Migration) -> str:
    return migration.state.replace("_", " ")


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["upgrade", *sys.argv[1:]]))
