"""Expiry of whole rows by a column: the target gets it at the switch, and not before.

Until then the source's expiry makes deletions that sync carries. Two tables that expire rows at times of their own
would differ for a while, and a validation in between would report missing rows.
"""

from __future__ import annotations

from embedshift.catalog.migration import Migration
from embedshift.steps.context import StepContext


def give_row_ttl(context: StepContext, migration: Migration) -> None:
    """Let the target's rows expire as the source's do; does nothing if they do already, or if the source's never do.

    Raises:
        NotPermitted: this user may not alter the target.
    """
    store, source, target = context.store, migration.source.table, migration.target.table
    column = store.describe(source).row_ttl
    if column is not None and store.describe(target).row_ttl != column:
        store.set_row_ttl(target, column)
        context.console.say(f"rows of {target} expire by {column} from now on, as those of {source} do")
