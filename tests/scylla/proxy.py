"""The CQL server that clients see: the protocol's version 4, with ScyllaDB's rules on top of Cassandra's answers."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tests.scylla import frames, metadata, words
from tests.scylla.backend import Backend, Node
from tests.scylla.catalog import Catalog
from tests.scylla.cdc import ChangeLogs
from tests.scylla.definitions import Definitions
from tests.scylla.frames import Batch, Body, Frame, Params
from tests.scylla.rights import Rights
from tests.scylla.row_ttl import RowExpiry
from tests.scylla.search import Search
from tests.scylla.selects import Statement, parsed
from tests.scylla.statements import Misunderstood, Select
from tests.scylla.tokens import refuse_reserved, refuse_times
from tests.scylla.words import Refused

#: What tells drivers that this is ScyllaDB: one shard, and no compression, since frames are looked into.
_SUPPORTED = {
    "CQL_VERSION": ["3.3.1"],
    "COMPRESSION": [],
    "PROTOCOL_VERSIONS": ["4/v4"],
    "SCYLLA_SHARD": ["0"],
    "SCYLLA_NR_SHARDS": ["1"],
    "SCYLLA_SHARDING_ALGORITHM": ["biased-token-round-robin"],
    "SCYLLA_SHARDING_IGNORE_MSB": ["12"],
    "SCYLLA_PARTITIONER": ["org.apache.cassandra.dht.Murmur3Partitioner"],
}
SendText = Callable[[str, Params], Awaitable[Frame]]


class Rules:
    """What all connections share."""

    def __init__(
        self,
        catalog: Catalog,
        logs: ChangeLogs,
        definitions: Definitions,
        search: Search,
        expiry: RowExpiry,
        rights: Rights,
    ) -> None:
        self.catalog, self.logs, self.definitions, self.search = catalog, logs, definitions, search
        self.expiry, self.rights = expiry, rights
        self.prepared: dict[bytes, Statement] = {}
        #: Failures of the stand-in itself, for tests to look at.
        self.faults: list[str] = []


class Connection:
    """One client."""

    def __init__(self, rules: Rules, node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._rules, self._node, self._reader, self._writer = rules, node, reader, writer
        self._keyspace = ""
        #: Whom the client has logged in as; empty if nobody has asked.
        self._role = ""
        self._backend: Backend
        self.registered = False

    async def serve(self) -> None:
        """Answer until the client goes."""
        self._backend = await Backend.open(self._node, self._pushed)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                frame = await frames.read_frame(self._reader)
                task = asyncio.create_task(self._reply(frame))
                running.add(task)
                task.add_done_callback(running.discard)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._backend.close()
            self._writer.close()

    async def announce(self, keyspace: str, table: str) -> None:
        """Tell the client that a table has changed, if it has asked for that."""
        if self.registered:
            body = frames.string("SCHEMA_CHANGE") + frames.schema_change("UPDATED", keyspace, table)
            self._write(replace(frames.answer(frames.EVENT, body), stream=-1))

    async def _pushed(self, event: Frame) -> None:
        """Pass on changes of the schema; of nodes, only the stand-in's own address is anything to a client."""
        if Body(event.body).string() == "SCHEMA_CHANGE":
            self._write(event)

    def _write(self, frame: Frame) -> None:
        if not self._writer.is_closing():
            self._writer.write(frame.packed())

    async def _reply(self, frame: Frame) -> None:
        try:
            answer = await self._answered(frame)
        except Refused as refused:
            answer = frames.error(refused.code, refused.words)
        except Misunderstood as trouble:
            answer = frames.error(words.INVALID, words.beyond(str(trouble)).words)
        except ConnectionError:
            self._writer.close()
            return
        except Exception as error:  # noqa: BLE001 - a client must not wait for ever for a fault of the stand-in
            self._rules.faults.append(traceback.format_exc())
            answer = frames.error(words.SERVER_ERROR, f"the stand-in failed: {error!r}")
        self._write(replace(answer, stream=frame.stream))

    async def _answered(self, frame: Frame) -> Frame:
        if frame.version != frames.VERSION:
            # Drivers step down at these words.
            known = f"Invalid or unsupported protocol version ({frame.version}); supported versions are (4/v4)"
            return frames.error(words.PROTOCOL, known)
        if frame.flags & (frames.COMPRESSED | frames.PAYLOAD):
            return frames.error(words.PROTOCOL, "the stand-in takes neither compression nor custom payloads")
        match frame.opcode:
            case frames.OPTIONS:
                return frames.answer(frames.SUPPORTED, _supported())
            case frames.QUERY:
                return await self._query(frame)
            case frames.PREPARE:
                return await self._prepare(frame)
            case frames.EXECUTE:
                return await self._execute(frame)
            case frames.BATCH:
                return await self._batch(frame)
            case frames.REGISTER:
                self.registered = b"SCHEMA_CHANGE" in frame.body
            case frames.AUTH_RESPONSE:
                self._role = frame.body[4:].split(b"\0")[1].decode()
        return await self._backend.ask(frame.opcode, frame.body, frame.flags)

    async def _query(self, frame: Frame) -> Frame:
        body = Body(frame.body)
        statement, params = self._parsed(body.long_string()), Params.read(body)

        async def send(text: str, params: Params) -> Frame:
            return await self._backend.ask(frames.QUERY, frames.query(text, params), frame.flags)

        answer = await self._run(statement, params, send)
        if answer.opcode != frames.ERROR:
            await self._rules.rights.made(statement.text)
        if answer.kind == frames.SET_KEYSPACE:
            self._keyspace = Body(answer.content[4:]).string()
        return answer

    async def _prepare(self, frame: Frame) -> Frame:
        statement = self._parsed(Body(frame.body).long_string())
        text, select = statement.text, statement.select
        if statement.definition is not None:
            raise words.beyond("a prepared statement that changes the schema")
        if select is not None and select.ann_column:
            id_, answer = await self._rules.search.prepared(text, select, self._backend)
        else:
            if select is not None:
                text = self._rewritten(text, select)
            answer = await self._backend.ask(frames.PREPARE, frames.long_string(text), frame.flags)
            if answer.opcode == frames.ERROR:
                return answer
            id_ = metadata.Statement.read(answer).id
        self._rules.prepared[id_] = statement
        return answer

    async def _execute(self, frame: Frame) -> Frame:
        body = Body(frame.body)
        id_, params = body.bytes_(body.short()), Params.read(body)
        statement = self._rules.prepared.get(id_)
        if statement is None:
            return _unprepared(id_)

        async def send(text: str, params: Params) -> Frame:
            return await self._backend.ask(frames.EXECUTE, frames.execute(id_, params), frame.flags)

        return await self._run(statement, params, send)

    async def _batch(self, frame: Frame) -> Frame:
        batch, parts, sent = Batch.read(Body(frame.body)), [], []
        for what, values in batch.parts:
            statement = self._parsed(what) if isinstance(what, str) else self._rules.prepared.get(what)
            if statement is None:
                assert isinstance(what, bytes)
                return _unprepared(what)
            parts += [(change, values) for change in statement.changes]
            sent.append((statement.text if isinstance(what, str) else what, values))

        async def send(timestamp: int | None) -> Frame:
            body = replace(batch, parts=sent, timestamp=timestamp).packed()
            return await self._backend.ask(frames.BATCH, body, frame.flags)

        return await self._rules.logs.perform(parts, batch.timestamp, send)

    def _parsed(self, text: str) -> Statement:
        refuse_reserved(text)
        refuse_times(text, self._rules.definitions.since)
        return parsed(text, self._keyspace)

    def _rewritten(self, text: str, select: Select) -> str:
        self._rules.rights.check_system(self._role, select)
        return self._rules.catalog.rewritten(text, select)

    async def _run(self, statement: Statement, params: Params, send: SendText) -> Frame:
        """A statement, by whichever rule it falls under."""
        rules, text = self._rules, statement.text
        if (select := statement.select) is not None:
            if select.ann_column:
                return await rules.search.run(text, select, params, self._backend)
            return await send(self._rewritten(text, select), params)
        if rules.rights.granted(text):
            return frames.answer(frames.RESULT, frames.int_(frames.VOID))
        if statement.described is not None:
            return await rules.expiry.described(*statement.described)
        if (definition := statement.definition) is not None:
            dropped = rules.definitions.table_of_index(definition)
            await rules.rights.check_definition(self._role, definition, dropped)
            return await rules.definitions.run(definition, lambda: send(definition.forward, params))

        async def write(timestamp: int | None) -> Frame:
            return await send(text, replace(params, timestamp=timestamp))

        changes = [(change, params.values) for change in statement.changes]
        return await rules.logs.perform(changes, params.timestamp, write)


def _supported() -> bytes:
    lists = (
        frames.string(key) + frames.short(len(values)) + b"".join(map(frames.string, values))
        for key, values in _SUPPORTED.items()
    )
    return frames.short(len(_SUPPORTED)) + b"".join(lists)


def _unprepared(id_: bytes) -> Frame:
    known = frames.error(words.UNPREPARED, "No prepared statement with this id found")
    return replace(known, body=known.body + frames.short(len(id_)) + id_)
