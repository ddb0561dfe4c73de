"""The schema: keyspaces with tablets, CDC, vector indexes."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping

from tests.scylla import frames, row_ttl, words
from tests.scylla.catalog import KEYSPACE, Catalog, Table, text
from tests.scylla.cdc import ChangeLogs
from tests.scylla.frames import Frame
from tests.scylla.indexing import VectorIndex, check, check_cdc, is_vector_class
from tests.scylla.row_ttl import RowExpiry
from tests.scylla.selects import Definition


class Definitions:
    """Statements that change the schema.

    Args:
        catalog: the schema.
        indexes: the vector indexes, by keyspace and name, oldest first.
        logs: the change logs.
        announce: tells all clients that a table has changed.
        expiry: which tables expire whole rows.
    """

    def __init__(
        self,
        catalog: Catalog,
        indexes: dict[tuple[str, str], VectorIndex],
        logs: ChangeLogs,
        announce: Callable[[str, str], Awaitable[None]],
        expiry: RowExpiry,
    ) -> None:
        self.version = ""
        #: ``enabled``, ``disabled`` or ``enforced``.
        self.tablets_mode = "enabled"
        self._catalog, self._indexes, self._logs, self._announce = catalog, indexes, logs, announce
        self._expiry = expiry

    async def run(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        """Run a statement; ``send`` passes on what Cassandra understands of it."""
        by_name = {
            "CREATE KEYSPACE": self._create_keyspace,
            "DROP KEYSPACE": self._drop_keyspace,
            "CREATE TABLE": self._create_table,
            "ALTER TABLE": self._alter_table,
            "DROP TABLE": self._drop_table,
            "CREATE INDEX": self._create_index,
            "DROP INDEX": self._drop_index,
        }
        run = by_name.get(stated.what)
        try:
            return await (send() if run is None else run(stated, send))
        finally:
            self._catalog.forget()

    async def _create_keyspace(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        """Tablets are the default of NetworkTopologyStrategy, and the only way where they are enforced."""
        simple = stated.properties.get("replication", {}).get("class", "").endswith("SimpleStrategy")
        asked = stated.properties.get("tablets", {}).get("enabled")
        tablets = asked == "true" or (asked is None and not simple and self.tablets_mode != "disabled")
        if self.tablets_mode == "enforced" and not tablets:
            raise words.tablets_enforced()
        if tablets and simple:
            raise words.Refused(words.CONFIGURATION, "SimpleStrategy doesn't support tablet replication")
        answer = await send()
        if answer.kind == frames.SCHEMA_CHANGE and tablets:
            await self._catalog.own.query(
                f"INSERT INTO {KEYSPACE}.scylla_keyspaces (keyspace_name, initial_tablets) VALUES (?, 0)",
                [text(stated.name)],
            )
        return answer

    async def _drop_keyspace(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?"
        tables = await self._catalog.own.rows(query, [text(stated.name)])
        found = [await self._catalog.table(stated.name, row["table_name"]) for row in tables]
        answer = await send()
        if answer.kind == frames.SCHEMA_CHANGE:
            for table in filter(None, found):
                await self._forget(table)
            await self._catalog.own.query(
                f"DELETE FROM {KEYSPACE}.scylla_keyspaces WHERE keyspace_name = ?", [text(stated.name)]
            )
        return answer

    async def _create_table(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        self._check_row_ttl(stated)
        answer = await send()
        if answer.kind == frames.SCHEMA_CHANGE:
            self._catalog.forget()
            table = await self._catalog.table(stated.keyspace, stated.name)
            assert table is not None
            if await self._catalog.has_tablets(stated.keyspace):
                await self._catalog.spread(table)
            await self._set_cdc(table, stated.properties.get("cdc"))
            await self._set_first_row_ttl(table, stated)
        return answer

    def _check_row_ttl(self, stated: Definition) -> None:
        if (stated.row_ttl or stated.alters_row_ttl) and self.since < row_ttl.SINCE:
            raise words.Refused(words.SYNTAX, "line 1:0 no viable alternative at input 'TTL'")
        if len(stated.row_ttl) > 1:
            raise words.invalid(f"a table cannot have more than one TTL column: {', '.join(stated.row_ttl)}")

    async def _set_first_row_ttl(self, table: Table, stated: Definition) -> None:
        """A wrong one is seen once Cassandra has the table, which says what its columns are."""
        self._expiry.forget(*_place(table))
        try:
            for column in stated.row_ttl:
                self._expiry.set(table, column)
        except words.Refused:
            await self._catalog.own.query(f"DROP TABLE {table.path}")
            await self._forget(table)
            raise

    async def _alter_table(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        said = stated.properties.get("cdc")
        table = await self._catalog.table(stated.keyspace, stated.name)
        if table is None:
            return await send() if stated.forward else frames.error(words.INVALID, f"unconfigured table {stated.name}")
        if said is not None and any(each.place == _place(table) for each in self._indexes.values()):
            check_cdc(said)
        self._check_row_ttl(stated)
        if stated.alters_row_ttl:
            self._expiry.set(table, stated.row_ttl[0] if stated.row_ttl else None)
        changed = frames.int_(frames.SCHEMA_CHANGE) + frames.schema_change("UPDATED", stated.keyspace, stated.name)
        answer = await send() if stated.forward else frames.answer(frames.RESULT, changed)
        if answer.kind == frames.SCHEMA_CHANGE:
            self._catalog.forget()
            table = await self._catalog.table(stated.keyspace, stated.name)
            assert table is not None
            if self._expiry.has(table) not in (None, *table.types):
                self._expiry.forget(*_place(table))
            if said is not None:
                await self._set_cdc(table, said)
            if self._logs.has_log(*_place(table)):
                await self._logs.widen(table)
        return answer

    async def _drop_table(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        table = await self._catalog.table(stated.keyspace, stated.name)
        answer = await send()
        if answer.kind == frames.SCHEMA_CHANGE and table is not None:
            await self._forget(table)
        return answer

    async def _create_index(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        """CREATE CUSTOM INDEX … USING 'vector_index' switches CDC on (SCYLLADB.md, first section)."""
        if not is_vector_class(stated.index_class):
            return await send()
        table = await self._catalog.table(stated.keyspace, stated.table)
        if table is None:
            raise words.invalid(f"unconfigured table {stated.table}")
        await self._check_index(stated, table)
        same_name = (stated.keyspace, stated.name) in self._indexes
        same_column = any(
            (each.keyspace, each.table, each.column) == (*_place(table), stated.column)
            for each in self._indexes.values()
        )
        # Several named indexes on one column since 2026.2 (SCYLLADB.md, "Names, options, shapes").
        if same_name or (same_column and self.since < (2026, 2)):
            if stated.lenient:
                return frames.answer(frames.RESULT, frames.int_(frames.VOID))
            there = f"Index {stated.name} already exists" if same_name else "There exists a duplicate custom index"
            raise words.invalid(there)
        await self._logs.make_log(table)
        index = VectorIndex(
            stated.keyspace,
            stated.name,
            stated.table,
            stated.column,
            uuid.uuid1(),
            dict(stated.properties.get("options", {})),
            stated.partition,
            stated.filtering,
        )
        self._indexes[index.keyspace, index.name] = index
        await self._logs.wait_for_unlogged(*_place(table))
        await self._record(index, stated)
        return await self._updated(index)

    async def _check_index(self, stated: Definition, table: Table) -> None:
        """What a vector index needs [index/vector_index.cc: validate]."""
        if not await self._catalog.has_tablets(stated.keyspace):
            raise words.needs_tablets()
        check(stated, table, self.since)
        said = self._logs.options.get(_place(table))
        if said is not None:
            check_cdc(said)

    def table_of_index(self, stated: Definition) -> str:
        """The table of the vector index that a statement drops; empty if it drops none."""
        found = self._indexes.get((stated.keyspace, stated.name)) if stated.what == "DROP INDEX" else None
        return "" if found is None else found.table

    async def _drop_index(self, stated: Definition, send: Callable[[], Awaitable[Frame]]) -> Frame:
        """The log stays, and is silent from now on (SCYLLADB.md, first table)."""
        index = self._indexes.pop((stated.keyspace, stated.name), None)
        if index is None:
            return await send()
        await self._catalog.own.query(
            f"DELETE FROM {KEYSPACE}.indexes WHERE keyspace_name = ? AND table_name = ? AND index_name = ?",
            [text(index.keyspace), text(index.table), text(index.name)],
        )
        return await self._updated(index)

    async def _set_cdc(self, table: Table, said: Mapping[str, str] | None) -> None:
        await self._catalog.set_cdc(*_place(table), said)
        if said is not None:
            self._logs.options[_place(table)] = said
        if self._logs.is_on(*_place(table)):
            await self._logs.make_log(table)

    async def _record(self, index: VectorIndex, stated: Definition) -> None:
        options = {
            **index.options,
            "class_name": stated.index_class,
            "target": words.target(index.column, list(stated.partition), list(stated.filtering)),
            "index_version": str(index.version),
        }
        said = ", ".join(f"'{key}': '{value}'" for key, value in options.items())
        await self._catalog.own.query(
            f"INSERT INTO {KEYSPACE}.indexes (keyspace_name, table_name, index_name, kind, options) "
            f"VALUES (?, ?, ?, 'CUSTOM', {{{said}}})",
            [text(index.keyspace), text(index.table), text(index.name)],
        )

    async def _updated(self, index: VectorIndex) -> Frame:
        """The table has changed, as ScyllaDB says of its indexes [cql3/statements/create_index_statement.cc]."""
        await self._announce(index.keyspace, index.table)
        change = frames.schema_change("UPDATED", index.keyspace, index.table)
        return frames.answer(frames.RESULT, frames.int_(frames.SCHEMA_CHANGE) + change)

    async def _forget(self, table: Table) -> None:
        """A table is gone, with its indexes, its tablets and its log."""
        for place in [place for place, each in self._indexes.items() if each.place == _place(table)]:
            del self._indexes[place]
        for name in ("indexes", "scylla_tables"):
            await self._catalog.own.query(
                f"DELETE FROM {KEYSPACE}.{name} WHERE keyspace_name = ? AND table_name = ?",
                [text(table.keyspace), text(table.name)],
            )
        await self._catalog.own.query(f"DELETE FROM {KEYSPACE}.tablets WHERE table_id = {table.id}")
        await self._logs.forget(*_place(table))
        self._expiry.forget(*_place(table))

    @property
    def since(self) -> tuple[int, ...]:
        """The version, as numbers that compare."""
        return tuple(int(part) for part in self.version.split(".")[:2])


def _place(table: Table) -> tuple[str, str]:
    return table.keyspace, table.name
