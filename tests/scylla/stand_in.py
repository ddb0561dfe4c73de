"""A stand-in for ScyllaDB: a real Cassandra node, ScyllaDB's rules in front of it, and a vector store beside it.

Each rule names the place that it comes from: in brackets the file of ScyllaDB's or the vector store's source, else the
part of SCYLLADB.md, this project's notes of that source of August 2026.

What it cannot do: it has one node and one shard, tablets that never split, no postimages, in searches no conditions but
equality; it takes neither values with names nor compressed frames. In tables with CDC it refuses INSERT JSON and bound
lists after IN; where a part of a collection changes, its log names the row alone. TRUNCATE makes no rows of the log,
and a write that times out makes none even if it was applied. Where an old log goes on, so do its streams and its floor.

A client's write is logged a moment after it is applied. On a busy machine that moment can be longer than a slow reader
that was shrunk: give it seconds where much is written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

from tests.scylla.backend import Backend, Node
from tests.scylla.catalog import Catalog
from tests.scylla.cdc import ChangeLogs
from tests.scylla.definitions import Definitions
from tests.scylla.indexing import VectorIndex
from tests.scylla.proxy import Connection, Rules
from tests.scylla.rights import Rights
from tests.scylla.row_ttl import RowExpiry
from tests.scylla.search import Search
from tests.scylla.vector_index import FAST, SLOW, Reader
from tests.scylla.vector_store import VectorStore

#: Upstream's own example of versions that go together (SCYLLADB.md, "Vector store (http)").
VERSION = "2026.2.2"


class StandIn:
    """A ScyllaDB for tests; a context manager that starts and stops it.

    Args:
        node: the Cassandra node. If it asks for passwords, so does the stand-in; clients reach it without encryption.
        fast: the vector store's quick reader.
        slow: its slow reader; tests have no time for the real one's 40 s.
        schema_poll_s: how often the vector store looks at the schema.
        search_timeout_s: how long an ANN query waits for the vector store.
    """

    def __init__(
        self,
        node: Node,
        *,
        fast: Reader = FAST,
        slow: Reader = SLOW,
        schema_poll_s: float = 1.0,
        search_timeout_s: float = 5.0,
    ) -> None:
        self._node, self._search_timeout_s = node, search_timeout_s
        self.vector_store = VectorStore(node, fast=fast, slow=slow, schema_poll_s=schema_poll_s)
        #: The server's clock, in seconds.
        self.now: Callable[[], float] = time.time
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[Connection] = set()
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The port for CQL."""
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    @property
    def rules(self) -> Rules:
        return self._rules

    @property
    def faults(self) -> list[str]:
        """Failures of the stand-in itself; a test that finds any has proved nothing."""
        return self._rules.faults

    def set_version(self, version: str) -> None:
        """Be of another version; what a client has asked before stays as it was."""
        self._rules.definitions.version = version
        self._run(self._rules.catalog.set_version(version))

    def set_tablets_mode(self, mode: str) -> None:
        """``enabled``, ``disabled`` or ``enforced``."""
        self._rules.definitions.tablets_mode = mode
        self._run(self._rules.catalog.configure("tablets_mode_for_new_keyspaces", mode))

    def set_rights(self, *, keyspace_alone: bool) -> None:
        """Whether the user has rights on his keyspace alone (SCYLLADB.md, "Rights")."""
        self._rules.catalog.rights_on_keyspace_alone = keyspace_alone

    def hold_expiry(self, *, held: bool) -> None:
        """Whether rows whose time has passed stay: the real server deletes them at some later time."""
        self._rules.expiry.is_held = held

    def set_vector_store_address(self, address: str) -> None:
        """Where searches are sent; an empty address is one that DNS does not know."""
        self._rules.search.address = address

    def raise_floor(self, keyspace: str, table: str, seconds: float) -> None:
        """Collect the sets of streams before a moment (SCYLLADB.md, first table: the floor moves up)."""
        self._run(self._rules.logs.raise_floor(keyspace, table, int(seconds * 1e6)))

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._run(self._open())
        self.vector_store.start()
        self.set_vector_store_address(self.vector_store.address)

    def stop(self) -> None:
        self.vector_store.stop()
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open(self) -> None:
        self._own = await Backend.started(self._node)
        catalog = Catalog(self._own)
        await catalog.create(VERSION)
        indexes: dict[tuple[str, str], VectorIndex] = {}

        def has_index(keyspace: str, table: str) -> bool:
            return any((each.keyspace, each.table) == (keyspace, table) for each in indexes.values())

        def now_us() -> int:
            return int(self.now() * 1e6)

        logs = ChangeLogs(catalog, now_us, has_index)
        expiry = RowExpiry(catalog, logs, now_us)
        definitions = Definitions(catalog, indexes, logs, self._announce, expiry)
        definitions.version = VERSION
        rights = Rights(catalog, self._node.login[0] if self._node.login else "")
        search = Search(catalog, indexes, self._search_timeout_s)
        self._rules = Rules(catalog, logs, definitions, search, expiry, rights)
        self._expiring = self._loop.create_task(expiry.run(self._rules.faults.append))
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving[self._loop.create_task(self._serve(reader, writer))] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self._rules, self._node, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self._serving.pop(task, None)

    async def _announce(self, keyspace: str, table: str) -> None:
        told: list[Awaitable[None]] = [each.announce(keyspace, table) for each in self._connections]
        await asyncio.gather(*told)

    async def _close(self) -> None:
        self._server.close()
        serving = dict(self._serving)
        for task, writer in serving.items():
            task.cancel()
            # Of a client that came in the last moment, whose task never began, nobody else closes it.
            writer.transport.abort()
        self._expiring.cancel()
        await asyncio.gather(*serving, self._expiring, return_exceptions=True)
        await self._own.close()
