"""A transfer: what one Spark job carries from which table to which, and the columns in which rows travel.

Load and sync are one transfer: a load meets an empty target, so that every row differs. The reader compares a token
range of both tables and yields only what differs; the embedding stage fills in vectors; the writer writes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.catalog.alias import get_alias
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.migration import Migration
from jobs.embedding import DIGEST
from jobs.errors import SchemaError
from jobs.settings import Settings, StoreSettings, TlsSettings
from jobs.spark.plan import task_bounds
from jobs.stores.contract import Column, Store, Table, remaining_ttl, write_time
from jobs.stores.values import arrow_type, to_json


class Action(IntEnum):
    """What is to be done with a row that travels."""

    END = 0  # no row: the reader's own count, the last of its range
    EMBED = 1
    WRITE = 2
    DELETE = 3
    DEAD = 4
    FAILED = 5  # the stage could not work at all: the range fails, the row does not


# Columns beside those of the table. Parentheses keep them apart from any column a table can have.
ACTION = "action()"
#: End row: the reader's report as JSON. Dead row: the reason.
NOTE = "note()"
#: Milliseconds since the epoch at which the row's TTLs were read.
SCANNED = "scanned()"
#: When a DELETE row is deleted, in microseconds.
DELETED_AT = "deleted_at()"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Everything that a task must know, as plain data: it travels to executors as JSON and holds no secret.

    ``orphans_before_us`` bounds what may be deleted: only rows of the target written before then (None: all).
    ``spare_dead`` spares the rows of dead letters too: on the way back they are missing because they never arrived.
    ``batch_tokens`` is 0 where the device's own value serves. ``read_back`` looks whether written rows are there.
    ``into_live`` says that the alias names the target: where write times do not decide, the target's value stays.
    ``inspect`` looks at the target's vectors too: one that is broken, or not written with its digest, is made anew.
    ``device`` is where the model runs, in the settings' words.
    ``rows_most`` and ``bytes_most`` bound what one task reads of its range; it leaves the rest to others (0: no bound).
    ``since_us`` restricts the comparison to rows written since (None: all), ``by_log`` finds them in the change log.
    ``run`` is the owner of the migration for which tasks keep to the pace that operators set; empty: they keep to none.
    """

    store: str
    source: str
    target: str
    source_table: str
    target_table: str
    migration: str
    step: str
    window_rows: int
    batch_tokens: int
    read_back: bool
    into_live: bool
    overwrite_shadowed: bool
    orphans_before_us: int | None
    spare_dead: bool
    clock_skew_us: int
    device: str
    inspect: bool
    rows_most: int = 0
    bytes_most: int = 0
    since_us: int | None = None
    by_log: bool = False
    run: str = ""

    def to_json(self) -> str:
        """The text that travels as an option of the data source."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Transfer:
        """The inverse of ``to_json``."""
        return cls(**json.loads(text))

    @property
    def store_settings(self) -> StoreSettings:
        """Where both tables and the catalog are."""
        return StoreSettings.model_validate_json(self.store)

    @property
    def layout(self) -> Layout:
        """The columns of the rows that travel."""
        return Layout(
            Endpoint.from_json(self.source),
            Endpoint.from_json(self.target),
            table_from_json(self.source_table),
            table_from_json(self.target_table),
        )


def reachable(store: StoreSettings) -> StoreSettings:
    """The same store for workers, which may have another working directory: every path in full."""
    tls = store.tls and store.tls.model_copy(update=_resolved(store.tls, ("ca", "certificate", "key")))
    return store.model_copy(update={**_resolved(store, ("path", "credentials_file")), "tls": tls})


def _resolved(part: StoreSettings | TlsSettings, names: tuple[str, ...]) -> dict[str, Path]:
    return {name: path.resolve() for name in names if (path := getattr(part, name)) is not None}


def transfer_of(
    settings: Settings,
    store: Store,
    migration: Migration,
    step: str,
    *,
    backwards: bool = False,
    read_back: bool = False,
    orphans_before_us: int | None = None,
    since_us: int | None = None,
    run: str = "",
) -> Transfer:
    """The transfer of one step of a migration.

    Args:
        backwards: from target to source, as a rollback needs it.
        read_back: look whether written rows are there.
        orphans_before_us, since_us, run: as in ``Transfer``.
    """
    source, target = migration.source, migration.target
    if backwards:
        source, target = target, source
    log = since_us is not None and settings.sync.change_log == "auto"
    return _between(
        settings,
        store,
        source,
        target,
        migration=migration.id,
        step=step,
        read_back=read_back,
        into_live=get_alias(store, migration.alias).target.table == target.table,
        overwrite_shadowed=settings.sync.shadowed == "overwrite",
        orphans_before_us=orphans_before_us,
        spare_dead=backwards,
        device=(settings.source.model if backwards else settings.target_model).device,
        clock_skew_us=int(settings.sync.clock_skew.total_seconds() * 1_000_000),
        inspect=settings.sync.inspect,
        since_us=since_us,
        by_log=log and store.keeps_changes(store.describe(source.table)),
        run=run,
    )


def transfer_in_place(settings: Settings, store: Store, endpoint: Endpoint, step: str) -> Transfer:
    """The transfer of a table into itself: only vectors that are missing, stale or broken are written."""
    of_target = endpoint.table == settings.target.table
    return _between(
        settings,
        store,
        endpoint,
        endpoint,
        migration=f"audit-{endpoint.table}",
        step=step,
        read_back=True,
        into_live=True,
        overwrite_shadowed=True,
        orphans_before_us=0,
        spare_dead=False,
        device=(settings.target_model if of_target else settings.source.model).device,
        clock_skew_us=0,
        inspect=True,
    )


def _between(settings: Settings, store: Store, source: Endpoint, target: Endpoint, **chosen: Any) -> Transfer:
    """A transfer with what follows from the settings and the tables alone."""
    most = task_bounds(store.estimate(source.table), settings.load.ranges, settings.load.task_rows)
    return Transfer(
        store=reachable(settings.store).model_dump_json(),
        source=source.to_json(),
        target=target.to_json(),
        source_table=table_to_json(store.describe(source.table)),
        target_table=table_to_json(store.describe(target.table)),
        window_rows=settings.load.window_rows,
        batch_tokens=0 if settings.load.batch_tokens == "auto" else settings.load.batch_tokens,
        rows_most=most.rows,
        bytes_most=most.bytes,
        **chosen,
    )


def table_to_json(table: Table) -> str:
    """A table's description as text."""
    return json.dumps(asdict(table))


def table_from_json(text: str) -> Table:
    """The inverse of ``table_to_json``."""
    tree = json.loads(text)
    return Table(tree["name"], tuple(Column(**column) for column in tree["columns"]))


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are carried between two tables, and the schema of the rows on their way."""

    source: Endpoint
    target: Endpoint
    source_table: Table
    target_table: Table

    @property
    def keys(self) -> tuple[Column, ...]:
        """The primary key, the same in both tables."""
        return self.source_table.keys

    @property
    def carried(self) -> tuple[Column, ...]:
        """Non-key columns that are copied as they are: all but the vectors and their digests."""
        made = {self.source.vector, self.target.vector, DIGEST}
        return tuple(c for c in self.source_table.others if c.name not in made)

    @property
    def copies_vectors(self) -> bool:
        """Whether both tables have one model. A table that is repaired from itself has nothing to copy."""
        return self.source.model.fingerprint == self.target.model.fingerprint and not self.in_place

    @property
    def in_place(self) -> bool:
        """Whether a table is repaired from itself."""
        return self.source.table == self.target.table

    @property
    def digests(self) -> tuple[Column, ...]:
        """The digest column of the target, none where the target keeps no digests."""
        return (Column(DIGEST, "blob"),) if self.target.digests else ()

    @property
    def made(self) -> tuple[Column, ...]:
        """What the pipeline makes: the vector, and its digest where the target keeps one."""
        column = self.target_table.column(self.target.vector)
        if column is None:
            raise SchemaError(f"{self.target.table} has no column {self.target.vector}")
        return (column, *self.digests)

    def names(self, rows: pa.RecordBatch) -> list[str]:
        """The primary key of each row as JSON: how catalog and people call a row."""
        columns = [[to_json(key.type, value) for value in rows.column(key.name).to_pylist()] for key in self.keys]
        keys = [key.name for key in self.keys]
        return [json.dumps(dict(zip(keys, values, strict=True))) for values in zip(*columns, strict=True)]

    def schema(self) -> pa.Schema:
        """The Arrow schema of rows on their way.

        Vectors travel packed, as binary of 4 bytes a number: one copy in the JVM instead of one object a number.
        """
        fields = [pa.field(ACTION, pa.int8()), pa.field(NOTE, pa.string()), pa.field(SCANNED, pa.int64())]
        fields += [pa.field(DELETED_AT, pa.int64())]
        fields += [pa.field(key.name, arrow_type(key.type)) for key in self.keys]
        for column in (*self.carried, *self.made):
            packed = column.name == self.target.vector
            fields.append(pa.field(column.name, pa.binary() if packed else arrow_type(column.type)))
            fields.append(pa.field(write_time(column.name), pa.int64()))
            fields.append(pa.field(remaining_ttl(column.name), pa.int32()))
        return pa.schema(fields)
