"""The vector store: an HTTP server that discovers indexes by the schema, and follows the logs of their tables."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from cassandra import DriverException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import RoundRobinPolicy
from cassandra.protocol import ErrorMessage
from cassandra.query import dict_factory

from tests.scylla import words
from tests.scylla.backend import Node
from tests.scylla.catalog import KEYSPACE
from tests.scylla.vector_index import FAST, SLOW, Followed, Reader

_FAILURES = (DriverException, NoHostAvailable, ErrorMessage)
_TICK_S = 0.02
_HANG_S = 60.0


class VectorStore:
    """A vector store beside one Cassandra node.

    Args:
        node: the Cassandra node.
        fast: the reader that is quick.
        slow: the reader that is sure.
        schema_poll_s: how often the schema is looked at [vector-store monitor_indexes.rs].
        now: its clock, in seconds.
    """

    def __init__(
        self,
        node: Node,
        *,
        fast: Reader = FAST,
        slow: Reader = SLOW,
        schema_poll_s: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.fast, self.slow, self.now = fast, slow, now
        #: See `Followed`; for indexes that are discovered from now on.
        self.rereads = False
        #: How searches fail: ``constructing`` (503), ``missing`` (404), ``error`` (500); ``unavailable`` and ``hang``,
        #: which the status has too; empty if they do not.
        self.failure = ""
        #: While it is set, indexes that are discovered wait before their scan.
        self.holds_scans = threading.Event()
        #: What went wrong while following, for tests to look at.
        self.faults: list[str] = []
        self._node, self._schema_poll_s = node, schema_poll_s
        self._indexes: dict[tuple[str, str], Followed] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        """Its address, as a client names it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to serve and to follow."""
        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), row_factory=dict_factory)
        node = self._node
        self._cluster = Cluster(
            [node.host],
            port=node.port,
            protocol_version=4,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            ssl_context=node.tls,
            auth_provider=PlainTextAuthProvider(*node.login) if node.login else None,
        )
        session = self._cluster.connect()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        for run, arguments in ((self._server.serve_forever, (0.05,)), (self._follow, (session,))):
            self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()
        self._cluster.shutdown()

    @property
    def stopping(self) -> threading.Event:
        return self._stopping

    def index(self, keyspace: str, name: str) -> Followed | None:
        """An index that is discovered."""
        return self._indexes.get((keyspace, name))

    def best(self, asked: Followed) -> Followed:
        """The newest index that serves, on the same column (SCYLLADB.md, "Names, options, shapes")."""
        place = (asked.keyspace, asked.table, asked.column)
        serving = [
            each
            for each in list(self._indexes.values())
            if each.status == "SERVING" and (each.keyspace, each.table, each.column) == place
        ]
        return max(serving, key=lambda each: each.version.time, default=asked)

    def _follow(self, session: Session) -> None:
        due = 0.0
        while not self._stopping.wait(_TICK_S):
            if time.monotonic() >= due:
                due = time.monotonic() + self._schema_poll_s
                self._tried(self._discover, session)
            for index in list(self._indexes.values()):
                self._tried(self._advance, session, index)

    def _tried(self, run: Callable[..., None], *arguments: Any) -> None:
        try:
            run(*arguments)
        except _FAILURES as error:  # a table that is dropped meanwhile, a node that does not answer
            self.faults.append(f"{type(error).__name__}: {error}")

    def _advance(self, session: Session, index: Followed) -> None:
        # Readers begin before the scan, and stand where they are while it runs.
        index.follow(session, (self.fast, self.slow), self.now())
        if index.status != "SERVING" and not self.holds_scans.is_set():
            index.scan(session)

    def _discover(self, session: Session) -> None:
        """Look at the schema. Indexes are kept by name: an old one answers until its successor is seen."""
        found: dict[tuple[str, str], Followed] = {}
        for row in session.execute(f"SELECT * FROM {KEYSPACE}.indexes"):
            place, options = (row["keyspace_name"], row["index_name"]), dict(row["options"])
            version = uuid.UUID(options["index_version"])
            known = self._indexes.get(place)
            if known is not None and known.version == version:
                found[place] = known
                continue
            said = options["target"]
            shape = json.loads(said) if said.startswith("{") else {"tc": said}
            column, filtering = shape["tc"], tuple(shape.get("fc", ()))
            metric = options.get("similarity_function", "cosine").lower()
            table = (row["keyspace_name"], row["table_name"])
            keys, streams = _keys(session, *table), _streams(session, *table)
            found[place] = Followed(
                *place, row["table_name"], column, version, metric, keys, streams, self.rereads, filtering
            )
        self._indexes = found


def _keys(session: Session, keyspace: str, table: str) -> tuple[str, ...]:
    query = "SELECT column_name, kind, position FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s"
    rows = [row for row in session.execute(query, (keyspace, table)) if row["kind"] in ("partition_key", "clustering")]
    rows.sort(key=lambda row: (row["kind"] != "partition_key", row["position"]))
    return tuple(row["column_name"] for row in rows)


def _streams(session: Session, keyspace: str, table: str) -> tuple[bytes, ...]:
    query = f"SELECT stream_id FROM {KEYSPACE}.cdc_streams WHERE keyspace_name = %s AND table_name = %s"
    return tuple(row["stream_id"] for row in session.execute(query, (keyspace, table)))


def _handler(store: VectorStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """``/api/v1/indexes/{keyspace}/{index}/status`` and ``…/ann`` [vector-store httproutes.rs]."""

        def do_GET(self) -> None:
            self._answer("status")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._answer("ann", json.loads(self.rfile.read(length)))

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, what: str, asked: dict[str, Any] | None = None) -> None:
            if store.failure in ("hang", "unavailable"):
                if store.failure == "hang":
                    store.stopping.wait(_HANG_S)
                self.close_connection = True
                return
            parts = [unquote(part) for part in self.path.strip("/").split("/")]
            if len(parts) != 6 or parts[:3] != ["api", "v1", "indexes"] or parts[5] != what:
                self._say(404, "no such route")
                return
            keyspace, name = parts[3], parts[4]
            index = store.index(keyspace, name)
            if index is None or (store.failure == "missing" and asked is not None):
                self._say(404, f"missing index: {keyspace}.{name}")
            elif asked is None:
                said = {"status": index.status, "count": index.count, "build_progress": index.progress}
                self._say(200, json.dumps(said))
            elif store.failure == "error":
                self._say(500, "index.ann request error: the test says so")
            else:
                self._search(store.best(index), asked)

        def _search(self, index: Followed, asked: dict[str, Any]) -> None:
            if store.failure == "constructing" or index.status != "SERVING":
                self._say(503, words.still_constructed(index.keyspace, index.name, index.progress))
                return
            wanted = asked.get("filter", {})
            if lacking := [name for name in wanted if name not in (*index.keys, *index.filtering)]:
                self._say(400, words.filtering_missing(lacking[0]))
                return

            def meets(key: tuple[Any, ...]) -> bool:
                return all(as_json(index.value(key, name)) == value for name, value in wanted.items())

            found = index.nearest(asked["vector"], int(asked.get("limit", 1)), meets)
            columns = {name: [as_json(key[at]) for key, _ in found] for at, name in enumerate(index.keys)}
            self._say(200, json.dumps({"primary_keys": columns, "distances": [distance for _, distance in found]}))

        def _say(self, status: int, said: str) -> None:
            body = said.encode()
            with suppress(ConnectionError):  # a client that does not wait
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

    return Handler


def as_json(value: Any) -> Any:
    """A key's value in JSON."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return f"{value:%Y-%m-%d %H:%M:%S.%f}"[:-3] + "+0000" if isinstance(value, datetime) else str(value)
