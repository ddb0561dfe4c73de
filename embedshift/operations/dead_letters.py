"""Dead letters: list them, try their rows again, or forget them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from embedshift.catalog.dead_letters import DeadLetter, drop_dead_letter, read_dead_letters
from embedshift.catalog.migration import Migration, get_migration
from embedshift.errors import CheckFailed, NotFoundError
from embedshift.spark.dead_letters import retry_dead_letters
from embedshift.spark.transfer import transfer_of
from embedshift.steps.context import StepContext
from embedshift.stores.contract import Store


def list_dead_letters(context: StepContext) -> dict[str, Any]:
    """Every dead letter of the migration: key, reason, the step that found it, and how often it was tried."""
    settings, store, console = context.settings, context.store, context.console
    migration = get_migration(store, settings)
    letters = _letters(store, migration)
    for each in letters:
        console.say(f"{each.id}  {each.step}  tried {each.attempts} times  {each.reason}")
    console.say(f"{len(letters)} dead letters of {migration.id}")
    return {"migration": migration.id, "letters": [_plain(each) for each in letters]}


def retry(context: StepContext) -> dict[str, Any]:
    """Embed and write the rows of all dead letters again, here and without Spark, and forget the letters that succeed.

    Raises:
        CheckFailed: some rows failed again.
        StateError, OwnedByAnother: the state forbids it, or another run owns the migration.
    """
    settings, store, console = context.settings, context.store, context.console
    migration = get_migration(store, settings)
    before = _letters(store, migration)
    console.say(f"trying {len(before)} dead letters of {migration.id} again")
    with context.owned(migration, "dead-letters") as lease:
        for back in (False, True):
            letters = [each for each in before if each.of_way_back == back]
            if letters:
                transfer = transfer_of(
                    settings,
                    store,
                    migration,
                    "retry",
                    backwards=back,
                    read_back=True,
                    orphans_before_us=0,
                    owner=lease.owner,
                    throttled=False,
                )
                retry_dead_letters(store, transfer, letters)
    left = _letters(store, migration)
    console.say(f"{len(before) - len(left)} rows succeeded or no longer exist, {len(left)} failed again")
    if left:
        raise CheckFailed(
            f"{len(left)} rows failed again, such as {left[0].id}: {left[0].reason}",
            hint="fix these rows in the source and try again",
        )
    return {"migration": migration.id, "arrived": len(before), "dead": 0}


def drop(context: StepContext, *, ids: Sequence[str] = (), every: bool = False) -> dict[str, Any]:
    """Forget dead letters. Their rows stay as they are: validation counts them as missing or stale.

    Args:
        ids: primary keys as ``dead-letters list`` prints them.
        every: all of them.

    Raises:
        NotFoundError: there is no letter with such an id; none is forgotten.
    """
    settings, store, console = context.settings, context.store, context.console
    migration = get_migration(store, settings)
    known = {each.id for each in _letters(store, migration)}
    chosen = sorted(known) if every else list(ids)
    unknown = [each for each in chosen if each not in known]
    if unknown:
        raise NotFoundError(f"there is no dead letter {unknown[0]}", hint="see embedshift dead-letters list")
    for each in chosen:
        drop_dead_letter(store, migration.id, each)
    console.say(f"forgot {len(chosen)} of {len(known)} dead letters")
    return {"migration": migration.id, "dropped": len(chosen)}


def _letters(store: Store, migration: Migration) -> list[DeadLetter]:
    return sorted(read_dead_letters(store, migration.id), key=lambda each: each.id)


def _plain(letter: DeadLetter) -> dict[str, Any]:
    tree = asdict(letter)
    return {name: tree[name] for name in ("id", "step", "reason", "attempts")}
