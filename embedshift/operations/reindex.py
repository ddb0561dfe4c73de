"""Other index options for the live table, in place.

Where a column may have several indexes, the new one is built beside the old one, which serves until then. Elsewhere the
old one is dropped first, and search fails until the new one is ready.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from embedshift.catalog.alias import Alias, check_unmoved, get_alias, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.guard import drop_live_index
from embedshift.catalog.lease import Lease
from embedshift.catalog.migration import migrations, record_index
from embedshift.catalog.states import ENDED
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import RefusedError
from embedshift.steps.context import StepContext
from embedshift.steps.index import describe_options, wait_until_serving
from embedshift.telemetry.console import Console

#: The end of the name of an index that was built beside another one; the next one has the first name again.
_SECOND = "_2"


def reindex(context: StepContext, *, dry_run: bool = False, accepted: bool = False) -> dict[str, Any]:
    """Drop and create the index of the table that the alias names, with ``target.index``.

    If it was killed and is run again, it builds the missing index.

    Args:
        context: what the operation works with.
        dry_run: only print what would be done.
        accepted: the caller accepts that search fails until the new index is ready.
    """
    settings, store, console = context.settings, context.store, context.console
    alias = get_alias(store, settings.alias)
    beside = store.holds_several_indexes()
    wanted = replace(alias.target, index_options=settings.target.index)
    if beside:
        wanted = replace(wanted, index_name=_other_name(alias.target.index.name))
    store.check_index(wanted.index)
    console.say(f"{alias.target.table}: {describe_options(alias.target.index_options)}")
    console.say(f"new options: {describe_options(wanted.index_options)}")
    if not beside:
        console.say("warning: search through the alias fails from the drop until the new index is ready")
    if dry_run:
        return {"dry_run": True, "table": alias.target.table}
    if not accepted and not beside:
        raise RefusedError(
            "reindex --in-place makes search fail for a while",
            hint="add --yes to accept that, or leave target.model out and run embedshift migrate to fill a new table",
        )
    if beside:
        _build_beside(context, alias, wanted)
        return _result(console, wanted)
    with _alone(context, alias) as lease:
        # The alias row first: if a run is killed in between, it has the new options, and the run can be repeated.
        if wanted != alias.target:
            claim = claim_alias(store, alias.name, alias.migration)
            check_unmoved(store, alias)
            alias = move_alias(store, lease, claim, wanted, migration=alias.migration, reason="reindex")
        record_index(store, alias.name, wanted)
        present = store.index_on(wanted.table, wanted.vector)
        drop_live_index(store, lease, present or wanted.index, alias)
        store.create_index(wanted.index)
        wait_until_serving(store, wanted.index, settings)
    return _result(console, wanted)


def _build_beside(context: StepContext, alias: Alias, wanted: VectorTable) -> None:
    """Build the new index, then name it in the alias row, then drop the old one. Killed at any moment, run it again."""
    store = context.store
    with _alone(context, alias) as lease:
        store.create_index(wanted.index)
        wait_until_serving(store, wanted.index, context.settings)
        claim = claim_alias(store, alias.name, alias.migration)
        check_unmoved(store, alias)
        alias_now = move_alias(store, lease, claim, wanted, migration=alias.migration, reason="reindex")
        record_index(store, alias.name, wanted)
        drop_live_index(store, lease, alias.target.index, alias_now)


def _other_name(name: str) -> str:
    return name.removesuffix(_SECOND) if name.endswith(_SECOND) else name + _SECOND


def _result(console: Console, wanted: VectorTable) -> dict[str, Any]:
    console.say(f"{wanted.index.name} is ready with the new options")
    return {"table": wanted.table, "index": wanted.index.name, "next": 'embedshift search "…"'}


def _alone(context: StepContext, alias: Alias) -> AbstractContextManager[Lease | None]:
    """Own the migration that uses the live table, so that none of its steps finds a table without an index."""
    for migration in migrations(context.store, alias.name):
        tables = (migration.source.table, migration.target.table)
        if migration.state not in ENDED and alias.target.table in tables:
            return context.owned(migration, "reindex")
    return nullcontext()
