"""Expiry of whole rows by a column, since 2026.2 [docs/cql/cql-extensions.md, test/cqlpy/test_ttl_row.py].

The real server looks at its tables once a day by default; the stand-in several times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.scylla import frames, words
from tests.scylla.catalog import Catalog, Table, quoted
from tests.scylla.cdc import ChangeLogs
from tests.scylla.frames import Body, Frame
from tests.scylla.logged import SERVICE_PARTITION_DELETE, SERVICE_ROW_DELETE, Cell, Row
from tests.scylla.metadata import Rows
from tests.scylla.words import Refused

SINCE = (2026, 2)
PERIOD_S = 0.2
#: Units in a second.
_UNITS = {"timestamp": 1000, "bigint": 1, "int": 1}
#: A row that has expired longer ago than this stays: such a time is taken for a mistake.
_IGNORED_S = 5 * 365 * 86_400
_VARCHAR = 0x000D


class RowExpiry:
    """Which tables have such a column, and the deletion of their expired rows.

    Args:
        catalog: the schema.
        logs: the change logs.
        now_us: the server's clock, in microseconds.
    """

    def __init__(self, catalog: Catalog, logs: ChangeLogs, now_us: Callable[[], int]) -> None:
        self._catalog, self._logs, self._now_us = catalog, logs, now_us
        self._columns: dict[tuple[str, str], str] = {}
        #: While it is set, no row is deleted.
        self.is_held = False

    def set(self, table: Table, column: str | None) -> None:
        """ALTER TABLE … TTL. Raises Refused as the server does."""
        place = (table.keyspace, table.name)
        if column is None:
            if self._columns.pop(place, None) is None:
                raise words.invalid(f"the table {table.name} does not have a TTL column")
            return
        if place in self._columns:
            raise words.invalid(f"{table.name} already has a TTL column, {self._columns[place]}")
        if column not in table.types:
            raise words.invalid(f"column '{column}' does not exist in table {table.name}")
        if column in table.keys or column in table.statics:
            kind = "primary key" if column in table.keys else "static"
            raise words.invalid(f"Cannot use a {kind} column as TTL column {column}")
        if table.types[column] not in _UNITS:
            raise words.invalid(f"TTL column {column} must be of type timestamp, bigint or int")
        self._columns[place] = column

    def has(self, table: Table) -> str | None:
        return self._columns.get((table.keyspace, table.name))

    def forget(self, keyspace: str, table: str) -> None:
        self._columns.pop((keyspace, table), None)

    async def described(self, keyspace: str, name: str) -> Frame:
        """The answer to DESC TABLE. Raises Refused: there is no such table."""
        table = await self._catalog.table(keyspace, name)
        if table is None:
            raise words.invalid(f"'{name}' not found in keyspace '{keyspace}'")
        ttl = self.has(table)
        lines = [f"    {_plain(each)} {kind}{_after(table, each, ttl)}," for each, kind in table.types.items()]
        partition = ", ".join(map(_plain, table.partition))
        key = ", ".join([f"({partition})" if len(table.partition) > 1 else partition, *map(_plain, table.clustering)])
        path = f"{_plain(keyspace)}.{_plain(name)}"
        text = "\n".join([f"CREATE TABLE {path} (", *lines, f"    PRIMARY KEY ({key})", ") WITH comment = '';"])
        names = ("keyspace_name", "type", "name", "create_statement")
        columns = b"".join(frames.string(each) + frames.short(_VARCHAR) for each in names)
        head = frames.int_(frames.ROWS) + frames.int_(1) + frames.int_(len(names))
        cells = b"".join(
            frames.int_(len(each.encode())) + each.encode() for each in (_plain(keyspace), "table", _plain(name), text)
        )
        described = head + frames.string(keyspace) + frames.string(name) + columns
        return frames.answer(frames.RESULT, described + frames.int_(1) + cells)

    async def run(self, fault: Callable[[str], None]) -> None:
        """Delete expired rows, again and again; ``fault`` is told what goes wrong."""
        while True:
            await asyncio.sleep(PERIOD_S)
            for keyspace, name in list(self._columns):
                try:
                    table = await self._catalog.table(keyspace, name)
                    if table is not None and not self.is_held:
                        await self._expire(table, self._columns[keyspace, name])
                except (Refused, KeyError):  # dropped meanwhile
                    continue
                except Exception as error:  # noqa: BLE001 - else tests would wait for rows that nobody deletes
                    fault(f"expiry of rows: {error!r}")

    async def _expire(self, table: Table, column: str) -> None:
        """Delete the rows of a table whose time has passed; that they had a later one meanwhile is not looked at."""
        keys = ", ".join(quoted(name) for name in table.keys)
        found = Rows.read(await self._catalog.own.query(f"SELECT {quoted(column)}, {keys} FROM {table.path}"))
        cells, unit = Body(found.cells), _UNITS[table.types[column]]
        where = " AND ".join(f"{quoted(name)} = ?" for name in table.keys)
        for _ in range(found.count):
            at, *key = (cells.value() for _ in range(1 + len(table.keys)))
            if not isinstance(at, bytes):
                continue
            now_us = self._now_us()
            over_s = now_us / 1e6 - int.from_bytes(at, "big", signed=True) / unit
            if not 0 <= over_s < _IGNORED_S:
                continue
            await self._catalog.own.query(f"DELETE FROM {table.path} USING TIMESTAMP {now_us} WHERE {where}", key)
            if self._logs.is_on(table.keyspace, table.name):
                operation = SERVICE_ROW_DELETE if table.clustering else SERVICE_PARTITION_DELETE
                row = Row(operation, {name: Cell("?", (value,)) for name, value in zip(table.keys, key, strict=True)})
                await self._logs.record([(table, row, now_us)])


def _after(table: Table, column: str, ttl: str | None) -> str:
    return " static" if column in table.statics else " TTL" if column == ttl else ""


def _plain(name: str) -> str:
    """A name as the server writes it: quoted if it must be."""
    return name if name.isidentifier() and name == name.lower() else quoted(name)
