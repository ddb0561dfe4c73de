"""The hooks that are told: of new states, of a complete cutover, and of failures.

They are called one after another in a thread of their own, so that no step waits for them in the middle of its work:
the alias must not hang on a slow chat. At the end of a step what is still to be told is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from jobs.catalog.changes import watched
from jobs.catalog.migration import Migration, find_migration, read_migration
from jobs.catalog.versions import settings_now
from jobs.errors import EmbedshiftError, OwnedByAnother
from jobs.hooks.calling import call
from jobs.hooks.facts import Facts, facts
from jobs.settings import Hook, Settings
from jobs.stores.contract import Store

#: Commands that only look: where they fail, no migration has.
_LOOKS = ("status", "report", "history", "list_dead_letters")


class Telling:
    """Tells the hooks of one run of a step."""

    def __init__(self, settings: Settings, step: str, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._step = step
        self._say = say
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="embedshift-hook")
        self._migration: Migration | None = None

    @contextmanager
    def open(self) -> Iterator[Telling]:
        """Tell of a failure where the block ends with one, and wait until everything is told."""
        try:
            yield self
        except Exception as error:
            self._failed(error)
            self._calls.shutdown()
            raise
        except BaseException:  # interrupted: whoever did it need not be told
            self._calls.shutdown(wait=False, cancel_futures=True)
            raise
        self._calls.shutdown()

    @contextmanager
    def following(self, store: Store, settings: Settings) -> Iterator[None]:
        """Tell of each new state until the block ends, in which the step runs by these settings."""

        def changed(migration: str, before: str, now: str) -> None:
            with suppress(EmbedshiftError):  # where the store is away, the step itself will say so
                seen = read_migration(store, migration)
                more = {"state": now, "previous_state": before, "step": self._step}
                self._tell("on_state_change", seen, **more)
                if now == "switched":
                    self._tell("after_cutover", seen, **more)

        with watched(changed):
            try:
                yield
            except Exception:
                # The store is closed by the time the failure is told.
                with suppress(EmbedshiftError):
                    # An upgrade chooses its own.
                    about = settings_now(settings, store) if self._step == "upgrade" else settings
                    self._migration = find_migration(store, about)
                raise

    def _failed(self, error: Exception) -> None:
        if self._step in _LOOKS or isinstance(error, OwnedByAnother):
            return
        known = isinstance(error, EmbedshiftError)
        # The message of an error that we do not know may hold anything.
        line = str(error) if known else f"{type(error).__name__}: see what the run has printed"
        code = str(error.exit_code if isinstance(error, EmbedshiftError) else 1)
        self._tell("on_failure", self._migration, step=self._step, error=line, exit_code=code)

    def _tell(self, event: str, migration: Migration | None, **more: str) -> None:
        hook: Hook | None = getattr(self._settings.hooks, event)
        if hook is not None:
            self._calls.submit(self._call, event, hook, facts(event, self._settings.alias, migration, **more))

    def _call(self, event: str, hook: Hook, told: Facts) -> None:
        reason = call(hook, told, self._settings.hooks.timeout.total_seconds())
        if reason:
            self._say(f"hooks.{event} failed ({reason}); nothing else is harmed")
