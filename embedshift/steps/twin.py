"""The target as a twin of the source: its options and its other indexes, each at the moment at which it may have them.

Options come when the target is created, other indexes when it is indexed. Two options wait until the old table is
retired: a change log, whose floor would refuse the pipeline's writes, and a gc_grace below ten days, within which a
tombstone must still stop a late write.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from embedshift.catalog.migration import Migration
from embedshift.embedding import DIGEST
from embedshift.errors import CheckFailed, RefusedError, SchemaError
from embedshift.settings import Settings
from embedshift.steps.context import StepContext
from embedshift.stores.contract import Store
from embedshift.stores.model import SecondaryIndex, Table
from embedshift.times import format_duration

_GRACE, _LOG = "gc_grace_seconds", "cdc"
#: Seconds for which tombstones are kept at least while there is a migration: Cassandra's own default.
_GRACE_S = 864_000
#: Seconds between two looks at an index that is being built.
_LOOK_S = 0.5


def first_options(store: Store, source: str) -> dict[str, str]:
    """The options with which the target of a table is created."""
    options = {name: value for name, value in store.options(source).items() if name != _LOG}
    if _GRACE in options:
        options[_GRACE] = str(max(int(options[_GRACE]), _GRACE_S))
    return options


def late_options(store: Store, source: str, target: str) -> dict[str, str]:
    """What the target gets when the source is retired."""
    ours, theirs = store.options(source), store.options(target)
    late = {}
    if _GRACE in ours and _GRACE in theirs and int(ours[_GRACE]) < int(theirs[_GRACE]):
        late[_GRACE] = ours[_GRACE]
    # A log that the target's own index has switched on stays.
    if _LOG in ours and _waits(_LOG, ours[_LOG]) and not _waits(_LOG, theirs.get(_LOG, "false")):
        late[_LOG] = ours[_LOG]
    return late


def give_late_options(context: StepContext, migration: Migration) -> None:
    """Give the target what had to wait; does nothing if there is nothing, or if the source is gone."""
    store, source, target = context.store, migration.source.table, migration.target.table
    if store.exists(source) and store.exists(target) and (options := late_options(store, source, target)):
        store.set_options(target, options)
        context.console.say(f"{target} has {_named(options)} now, as {source} had")


def in_words(store: Store, source: Table, vector: str) -> list[str]:
    """For ``prepare``: what comes along, and when."""
    lines = []
    if indexes := store.secondary_indexes(source.name, vector):
        names = ", ".join(each.name for each in indexes)
        lines.append(f"other indexes of {source.name} are built on the copy after the load: {names}")
    options = store.options(source.name)
    late = {name: options[name] for name in (_GRACE, _LOG) if name in options and _waits(name, options[name])}
    if late:
        lines.append(f"the copy gets {_named(late)} when {source.name} is retired, and not before")
    return lines


def _waits(name: str, value: str) -> bool:
    if name == _GRACE:
        return int(value) < _GRACE_S
    return value != "false" and "'enabled': 'false'" not in value and "'enabled': false" not in value


def _named(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items())


# Other indexes.


def missing_indexes(store: Store, migration: Migration) -> list[SecondaryIndex]:
    """The indexes that the source has beside that of its vectors, and the target has not, by the target's names."""
    source, target = migration.source, migration.target
    there = {each.definition for each in store.secondary_indexes(target.table, target.vector)}
    return [
        replace(each, name=_name(each.name, source.table, target.table))
        for each in store.secondary_indexes(source.table, source.vector)
        if each.definition not in there
    ]


def build_other_indexes(context: StepContext, migration: Migration) -> None:
    """Build them, and wait until each can be used.

    Raises:
        CheckFailed: one is not ready within ``target.index_wait``.
    """
    store, table = context.store, migration.target.table
    for index in missing_indexes(store, migration):
        context.console.say(f"build {index.name} on {table}{index.definition.partition(' USING')[0]}")
        store.create_secondary(index, table)
        _wait(store, index.name, context.settings)


def _wait(store: Store, name: str, settings: Settings) -> None:
    deadline = time.monotonic() + settings.target.index_wait.total_seconds()
    pause = threading.Event()
    while not store.secondary_serving(name):
        if time.monotonic() > deadline:
            raise CheckFailed(
                f"the index {name} is not ready after {format_duration(settings.target.index_wait)}",
                hint="run embedshift index again to wait longer, or raise target.index_wait",
            )
        pause.wait(_LOOK_S)


def _name(name: str, source: str, target: str) -> str:
    """``articles_kind_idx`` becomes ``articles_v2_kind_idx``."""
    return name.replace(source, target, 1) if source in name else f"{name}_{target}"


# Before the switch.


def check_twin(store: Store, migration: Migration) -> None:
    """Check that an application finds in the target what it has in the source.

    Raises:
        RefusedError: an index is missing.
        SchemaError: the columns differ.
    """
    check_same_columns(store, migration)
    if missing := missing_indexes(store, migration):
        raise RefusedError(
            f"{migration.target.table} lacks {len(missing)} indexes of {migration.source.table}, such as "
            f"{missing[0].name}",
            hint="run embedshift index, which builds them",
        )


def check_same_columns(store: Store, migration: Migration) -> None:
    """Raises SchemaError, with the statement that mends it, if one table has a column that the other lacks."""
    source, target = store.describe(migration.source.table), store.describe(migration.target.table)
    made = {migration.source.vector, migration.target.vector, DIGEST}
    for one, other in ((source, target), (target, source)):
        for column in one.others:
            there = other.column(column.name)
            if column.name in made or (there is not None and there.type == column.type):
                continue
            if there is not None:
                raise SchemaError(
                    f"{column.name} is {column.type} in {one.name} and {there.type} in {other.name}",
                    hint="abort the migration and begin it again",
                )
            raise SchemaError(
                f"{one.name} has a column {column.name}, and {other.name} has not",
                hint=f"ALTER TABLE {other.name} ADD {column.name} {column.type}, or ALTER TABLE {one.name} DROP "
                f"{column.name} if nobody needs it",
            )
