"""What a table is used for: the aliases that point to it or are about to, and whether it is being dropped.

Both are in one row, which changes only by compare-and-set. So an alias never moves to a table that somebody is about to
drop, and no table is dropped to which an alias is about to move, however long a process sleeps in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from embedshift.catalog.actor import whoami
from embedshift.catalog.tables import TABLE_USE
from embedshift.errors import RefusedError, StateError
from embedshift.stores.contract import Store
from embedshift.times import now_us

_TRIES = 20
#: The states of a table: in use or free, about to be dropped, dropped. A name that was dropped is never used again.
IN_USE, DROPPING, DROPPED = "", "dropping", "dropped"


@dataclass(frozen=True, slots=True)
class TableUse:
    """The aliases that use a table, and its state. ``version`` is 0 if the catalog knows nothing of it."""

    name: str
    aliases: frozenset[str] = frozenset()
    state: str = IN_USE
    version: int = 0


def table_use(store: Store, table: str) -> TableUse:
    """What a table is used for, read serially."""
    row = store.records.get(TABLE_USE, {"name": table}) if store.records.has(TABLE_USE) else None
    if row is None:
        return TableUse(table)
    return TableUse(table, frozenset(json.loads(row["aliases"])), row["state"] or IN_USE, row["version"])


def use_table(store: Store, table: str, alias: str) -> None:
    """Say that an alias points to a table, before it does. Raises RefusedError if the table is being dropped."""

    def used(seen: TableUse) -> TableUse:
        check_not_dropping(seen)
        return replace(seen, aliases=seen.aliases | {alias})

    _change(store, table, used)


def leave_table(store: Store, table: str, alias: str) -> None:
    """Say that an alias no longer points to a table, after it has moved away."""
    _change(store, table, lambda seen: replace(seen, aliases=seen.aliases - {alias}))


def close_table(store: Store, table: str, allowed: frozenset[str] = frozenset()) -> frozenset[str]:
    """Say that a table is about to be dropped, unless aliases use it. From now on none can move to it.

    Args:
        allowed: aliases that may use it, since they are dropped with it.

    Returns:
        The other aliases that use it; if there are any, nothing was changed.
    """
    found: frozenset[str] = frozenset()

    def closed(seen: TableUse) -> TableUse:
        nonlocal found
        found = seen.aliases - allowed
        return seen if found else replace(seen, state=DROPPING)

    _change(store, table, closed)
    return found


def reopen_table(store: Store, table: str) -> None:
    """The table was not dropped after all."""
    _change(store, table, lambda seen: replace(seen, state=IN_USE))


def mark_dropped(store: Store, table: str) -> None:
    """The table is gone; its name is not given to another one."""
    _change(store, table, lambda seen: replace(seen, aliases=frozenset(), state=DROPPED))


def renew_table(store: Store, table: str) -> None:
    """A person has created a table anew under the name of one that was dropped."""
    _change(store, table, lambda seen: replace(seen, state=IN_USE) if seen.state == DROPPED else seen)


def check_not_dropping(seen: TableUse) -> None:
    """Raises RefusedError if a table is being dropped, or was."""
    if seen.state != IN_USE:
        doing = "is being dropped" if seen.state == DROPPING else "was dropped"
        raise RefusedError(f"{seen.name} {doing}", hint="there is no way back to it: look at embedshift status")


def free_name(store: Store, wanted: str) -> str:
    """A name for a new table: the one that is wanted, or the next number of it if a table of that name was dropped.

    What is late, such as a task of a lost run or an application that has the name in its cache, then finds no table,
    and never the wrong one.
    """
    name, number = wanted, 1
    while table_use(store, name).state != IN_USE or (number > 1 and store.exists(name)):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _change(store: Store, table: str, change: Callable[[TableUse], TableUse]) -> None:
    for _ in range(_TRIES):
        seen = table_use(store, table)
        now = change(seen)
        if now == seen:
            return
        row = {
            "aliases": json.dumps(sorted(now.aliases)),
            "state": now.state,
            "version": seen.version + 1,
            "changed_us": now_us(),
            "changed_by": whoami(),
        }
        if seen.version == 0:
            done = store.records.insert(TABLE_USE, {"name": table, **row})
        else:
            done = store.records.update_if(TABLE_USE, {"name": table}, row, {"version": seen.version})
        if done:
            return
    raise StateError(f"{_TRIES} others have changed what {table} is used for just now", hint="try again")
