"""The hook that is asked: before the alias moves."""

from __future__ import annotations

from collections.abc import Callable

from jobs.catalog.migration import Migration
from jobs.errors import CheckFailed
from jobs.hooks.calling import call
from jobs.hooks.facts import facts
from jobs.settings import Settings


def ask_before_cutover(settings: Settings, migration: Migration, say: Callable[[str], None]) -> None:
    """Ask ``hooks.before_cutover``, where there is one.

    Raises:
        CheckFailed: it failed; the cutover must stop.
    """
    hook = settings.hooks.before_cutover
    if hook is None:
        return
    say(f"ask hooks.before_cutover: {hook}")
    told = facts("before_cutover", settings.alias, migration, step="cutover")
    reason = call(hook, told, settings.hooks.timeout.total_seconds())
    if reason:
        raise CheckFailed(
            f"hooks.before_cutover stopped the cutover ({reason})",
            hint="the alias has not moved; mend what it asks for and run embedshift cutover again",
        )
