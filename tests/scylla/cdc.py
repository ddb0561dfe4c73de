"""CDC: which tables have it, which writes it refuses, and what it logs."""

from __future__ import annotations

import asyncio
import secrets
import time as clock
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.scylla import words
from tests.scylla.catalog import KEYSPACE, TABLETS, Catalog, Table, quoted, text
from tests.scylla.frames import ERROR, Body, Frame, Value
from tests.scylla.logged import Row, number, rows_of
from tests.scylla.metadata import Rows, was_applied
from tests.scylla.statements import Change
from tests.scylla.times import timeuuid

SUFFIX = "_scylla_cdc_log"
#: Rows of the log expire after a day (SCYLLADB.md, first table: log TTL, 24 h by default).
TTL_S = 86_400
Send = Callable[[int | None], Awaitable[Frame]]


@dataclass
class Log:
    """The log of one table: ``first_us`` is the time of its first set of streams, the floor of write times."""

    first_us: int
    streams: list[bytes] = field(default_factory=lambda: [secrets.token_bytes(16) for _ in range(TABLETS)])


class ChangeLogs:
    """All logs. A table's CDC is on by its option or by a vector index on it [cdc/log.cc: cdc_enabled].

    Args:
        catalog: the schema.
        now_us: the server's clock, in microseconds.
        has_index: whether a vector index is on a table.
    """

    def __init__(self, catalog: Catalog, now_us: Callable[[], int], has_index: Callable[[str, str], bool]) -> None:
        self._catalog, self._now_us, self._has_index = catalog, now_us, has_index
        self._logs: dict[tuple[str, str], Log] = {}
        self._unlogged_writes: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        #: What clients have said of CDC, by table.
        self.options: dict[tuple[str, str], Mapping[str, str]] = {}

    def is_on(self, keyspace: str, table: str) -> bool:
        said = self.options.get((keyspace, table), {})
        return said.get("enabled") == "true" or self._has_index(keyspace, table)

    def has_log(self, keyspace: str, table: str) -> bool:
        """Whether there is a log, be it silent: switching CDC off keeps it [cdc_enable_disable_test]."""
        return (keyspace, table) in self._logs

    async def make_log(self, table: Table) -> None:
        """Make the log and its first streams, 5 s before now [SCYLLADB.md, first table]; an old log goes on."""
        place = (table.keyspace, table.name)
        if place in self._logs:
            return
        columns = [f"{quoted(name)} {_type(table, name)}" for name in table.types]
        deleted = [f"{quoted('cdc$deleted_' + name)} boolean" for name in table.others]
        own = '"cdc$stream_id" blob, "cdc$time" timeuuid, "cdc$batch_seq_no" int, "cdc$end_of_batch" boolean'
        await self._catalog.own.query(
            f'CREATE TABLE {log_path(table)} ({own}, "cdc$operation" tinyint, "cdc$ttl" bigint, '
            f'{", ".join(columns + deleted)}, PRIMARY KEY ("cdc$stream_id", "cdc$time", "cdc$batch_seq_no")) '
            f"WITH default_time_to_live = {TTL_S}"
        )
        self._catalog.forget()
        log = self._logs[place] = Log((self._now_us() - words.LEEWAY_US) // 1000 * 1000)
        await self._record(table.keyspace, table.name, log)

    async def widen(self, table: Table) -> None:
        """The log takes the columns that its table has got since."""
        log = await self._catalog.table(table.keyspace, table.name + SUFFIX)
        missing = [] if log is None else [name for name in table.others if name not in log.types]
        for name in missing:
            new = f"{quoted(name)} {_type(table, name)}, {quoted('cdc$deleted_' + name)} boolean"
            await self._catalog.own.query(f"ALTER TABLE {log_path(table)} ADD ({new})")
        self._catalog.forget()

    async def forget(self, keyspace: str, table: str) -> None:
        """The table is gone, and its log with it."""
        self.options.pop((keyspace, table), None)
        if self._logs.pop((keyspace, table), None) is not None:
            path = f"{quoted(keyspace)}.{quoted(table + SUFFIX)}"
            await self._catalog.own.query(f"DROP TABLE IF EXISTS {path}")
            await self._clear(keyspace, table)

    async def raise_floor(self, keyspace: str, table: str, first_us: int) -> None:
        """Older sets of streams are collected [SCYLLADB.md, first table: the floor moves up]."""
        log = self._logs[keyspace, table] = replace(self._logs[keyspace, table], first_us=first_us // 1000 * 1000)
        await self._record(keyspace, table, log)

    async def perform(self, parts: Sequence[tuple[Change, Sequence[Value]]], given: int | None, send: Send) -> Frame:
        """Send writes on, and log those whose tables have CDC.

        Args:
            parts: the writes of one request, each with its values.
            given: the request's own write time.
            send: sends the request with a write time.

        Raises:
            Refused: CDC does not take a write of that time.
        """
        logged = [(change, values) for change, values in parts if self.is_on(change.keyspace, change.table)]
        if not logged:
            return await self._unlogged({(change.keyspace, change.table) for change, _ in parts}, send(given))
        now, began = self._now_us(), _clock_us()
        conditional = any(change.conditional for change, _ in parts)
        usual = now if given is None else given
        timed: list[tuple[Change, Sequence[Value], int]] = []
        for change, values in logged:
            if change.trouble:
                raise words.beyond(f"{change.trouble} in a table with CDC")
            stated = number(change.timestamp, values)
            time = usual if stated is None else stated
            if not conditional:  # a lightweight transaction bears the server's own time
                await self._check(change, time, now)
            timed.append((change, values, time))
        answer = await send(given if conditional else usual)
        if answer.opcode == ERROR or (conditional and not was_applied(answer)):
            return answer
        if conditional:
            time = await self._time_of(timed[0][0], timed[0][1], began)
            timed = [(change, values, time) for change, values, _ in timed]
        await self._append(timed)
        return answer

    async def _check(self, change: Change, time: int, now: int) -> None:
        """Refuse a write of that time [cdc/metadata.cc: get_tablet_stream_set]."""
        if time > now + words.LEEWAY_US:
            raise words.from_the_future(time, now)
        if time < self._logs[change.keyspace, change.table].first_us:
            table = await self._catalog.table(change.keyspace, change.table)
            raise words.no_stream(table.id if table else "?", time)

    async def _unlogged(self, places: set[tuple[str, str]], sending: Awaitable[Frame]) -> Frame:
        done = asyncio.get_running_loop().create_future()
        for place in places:
            self._unlogged_writes.setdefault(place, set()).add(done)
        try:
            return await sending
        finally:
            done.set_result(None)
            for place in places:
                self._unlogged_writes[place].discard(done)

    async def wait_for_unlogged(self, keyspace: str, table: str) -> None:
        """Wait for the writes that began before CDC was on: a scan from now on sees all that is not logged."""
        await asyncio.gather(*self._unlogged_writes.get((keyspace, table), ()))

    async def _time_of(self, change: Change, values: Sequence[Value], began_us: int) -> int:
        """The write time that a lightweight transaction has just taken: read back from a cell that it wrote.

        If another write has already replaced the cell, the time when the transaction began: before that other write.
        """
        table = await self._catalog.table(change.keyspace, change.table)
        assert table is not None
        for row in rows_of(change, table, values):
            column = next((name for name in row.cells if name in change.sets and name not in table.keys), None)
            if column is None or any(key not in row.cells for key in table.keys):
                continue
            where = " AND ".join(f"{quoted(key)} = {row.cells[key].text}" for key in table.keys)
            bound = [value for key in table.keys for value in row.cells[key].values]
            select = f"SELECT writetime({quoted(column)}), {quoted(column)} FROM {table.path} WHERE {where}"
            cells = Body(Rows.read(await self._catalog.own.query(select, bound)).cells)
            at, found = (cells.value(), cells.value()) if cells.data else (None, None)
            cell = row.cells[column]
            if isinstance(at, bytes) and (cell.text != "?" or cell.values == (found,)):
                return int.from_bytes(at, "big", signed=True)
        return began_us

    async def _append(self, timed: Sequence[tuple[Change, Sequence[Value], int]]) -> None:
        """Write rows of the log, each at the write's own time (SCYLLADB.md, first table)."""
        entries = []
        for change, values, time in timed:
            table = await self._catalog.table(change.keyspace, change.table)
            if table is not None:  # else dropped meanwhile
                entries += [(table, row, time) for row in rows_of(change, table, values)]
        await self.record(entries)

    async def record(self, entries: Sequence[tuple[Table, Row, int]]) -> None:
        """Write rows of logs, each at a time."""
        batches: dict[tuple[str, bytes, int], list[tuple[Table, Row]]] = {}
        for table, row, time in entries:
            log = self._logs.get((table.keyspace, table.name))
            if log is None:  # dropped meanwhile
                continue
            key = repr([(row.cells[name].text, row.cells[name].values) for name in table.partition])
            stream = log.streams[zlib.crc32(key.encode()) % len(log.streams)]
            batches.setdefault((log_path(table), stream, time), []).append((table, row))
        for (path, stream, time), rows in batches.items():
            moment = timeuuid(time)
            for place, (table, row) in enumerate(rows):
                said = self.options.get((table.keyspace, table.name), {}).get("ttl", TTL_S)
                last = "true" if place == len(rows) - 1 else "null"
                names = ['"cdc$stream_id", "cdc$time", "cdc$batch_seq_no", "cdc$end_of_batch", "cdc$operation"']
                terms = [f"?, {moment}, {place}, {last}, {row.operation}"]
                bound: list[Value] = [stream]
                for name, cell in row.cells.items():
                    names.append(quoted(name))
                    terms.append(cell.text)
                    bound.extend(cell.values)
                await self._catalog.own.query(
                    f"INSERT INTO {path} ({', '.join(names)}) VALUES ({', '.join(terms)}) USING TTL {said}", bound
                )

    async def _record(self, keyspace: str, table: str, log: Log) -> None:
        await self._clear(keyspace, table)
        place = [text(keyspace), text(table)]
        at = log.first_us // 1000
        await self._catalog.own.query(
            f"INSERT INTO {KEYSPACE}.cdc_timestamps (keyspace_name, table_name, timestamp) VALUES (?, ?, {at})", place
        )
        for stream in log.streams:
            await self._catalog.own.query(
                f"INSERT INTO {KEYSPACE}.cdc_streams (keyspace_name, table_name, timestamp, stream_state, stream_id) "
                f"VALUES (?, ?, {at}, 0, 0x{stream.hex()})",
                place,
            )

    async def _clear(self, keyspace: str, table: str) -> None:
        for name in ("cdc_timestamps", "cdc_streams"):
            await self._catalog.own.query(
                f"DELETE FROM {KEYSPACE}.{name} WHERE keyspace_name = ? AND table_name = ?",
                [text(keyspace), text(table)],
            )


def _clock_us() -> int:
    """Cassandra's own clock, which lightweight transactions follow."""
    return clock.time_ns() // 1000


def log_path(table: Table) -> str:
    return f"{quoted(table.keyspace)}.{quoted(table.name + SUFFIX)}"


def _type(table: Table, name: str) -> str:
    """A column's type in the log, where no collection is several cells."""
    kind = table.types[name]
    return f"frozen<{kind}>" if kind.startswith(("list<", "set<", "map<")) else kind
