"""The versions of an alias's table, and the migrations between them that ``embedshift upgrade`` starts."""

from __future__ import annotations

import json
import re

from embedshift.catalog.migration import Migration, migrations
from embedshift.catalog.states import ENDED
from embedshift.catalog.vector_table import VectorTable, is_served, reached
from embedshift.errors import UsageError
from embedshift.settings import ModelSettings, Settings
from embedshift.stores.contract import Store

#: The longest name of a table that Cassandra takes.
_LONGEST = 48
#: How many numbers are tried; nobody has that many tables of one alias.
_VERSIONS = 1000


def next_table(store: Store, alias: str, live: str) -> str:
    """The name of the next version: ``articles`` is followed by ``articles_v2``, and that by ``articles_v3``.

    A name that a table or a migration has, or ever had, is skipped.

    Raises:
        UsageError: the name is longer than a table's may be.
    """
    found = re.fullmatch(r"(?P<base>.+?)(?:_v(?P<number>\d+))?", live)
    assert found is not None
    taken = {each.target.table.lower() for each in migrations(store, alias)}
    first = int(found["number"] or 1) + 1
    names = (f"{found['base']}_v{number}" for number in range(first, first + _VERSIONS))
    name = next(each for each in names if each.lower() not in taken and not store.exists(each))
    if len(name) > _LONGEST:
        raise UsageError(f"the next version of {live} would be {name}", hint="a table's name has 48 letters at most")
    return name


def open_migration(store: Store, alias: str) -> Migration | None:
    """The newest migration of an alias that has neither switched nor ended."""
    found = [each for each in migrations(store, alias) if each.state not in ("switched", "closed", "retiring", *ENDED)]
    return found[-1] if found else None


def is_served_by(store: Store, vector_table: VectorTable, model: ModelSettings) -> bool:
    """Whether that model, with these prompts and length, made the vectors of a table; the device does not matter."""
    return is_served(store, vector_table.model, model)


def between(settings: Settings, source: VectorTable, target: str, model: ModelSettings) -> Settings:
    """The settings for a migration from a table of the catalog into a table with a model."""
    old = reached(source, settings).model.settings(settings.source.model.device)
    return settings.model_copy(
        update={
            "source": settings.source.model_copy(update={"table": source.table, "model": old}),
            "target": settings.target.model_copy(update={"table": target, "model": model}),
        }
    )


def as_prepared(settings: Settings, migration: Migration) -> Settings:
    """The settings, with everything that decides a migration's result as it was when the migration was prepared."""
    source, target = migration.source, migration.target
    copied = json.loads(migration.result_keys.get("target.model", "{}")) is None
    made = between(settings, source, migration.wanted, target.model.settings(settings.target_model.device))
    precision = json.loads(migration.result_keys["load.precision"])
    text = {name: getattr(source, name) for name in ("id", "text", "vector")}
    index = {"index": target.index_options, **({"model": None} if copied else {})}
    return made.model_copy(
        update={
            "source": made.source.model_copy(update=text),
            "target": made.target.model_copy(update=index),
            "load": made.load.model_copy(update={"precision": precision}),
        }
    )


def settings_now(settings: Settings, store: Store) -> Settings:
    """The settings of the alias's current migration: the file's own, unless ``upgrade`` has started a later one.

    So an unchanged file finds every migration that upgrade starts. An aborted migration is ignored, and the one before
    it counts again.
    """
    known = [each for each in migrations(store, settings.alias) if each.state != "aborted"]
    if known and known[-1].facts.upgrade:
        return as_prepared(settings, known[-1])
    return settings
