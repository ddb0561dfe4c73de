"""ScyllaDB without a ScyllaDB: what it is asked, word by word, and what is made of documented answers."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cassandra.util import unix_time_from_uuid1
from pydantic import ValidationError

from embedshift.errors import NotPermitted, SchemaError, SettingsError, StoreUnavailable
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores.cql.cassandra import Cassandra
from embedshift.stores.cql.projection import inherited
from embedshift.stores.cql.schema import remarks
from embedshift.stores.cql.scylla import Scylla, pieces_of_tablets
from embedshift.stores.cql.store import detect
from embedshift.stores.model import MIN_WRITE_TIME_US, Column, Index, Table
from embedshift.stores.similarity import from_similarity, similarities
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, TokenRange
from scripts.cassandra_node.tls import TlsFiles, tls_files

INDEX = Index("articles_idx", "articles", "embedding", 3, IndexSettings())


class Recorded:
    """In place of a connection: answers from a list, and keeps the statements it was given."""

    keyspace = "ks"

    def __init__(self, answers: dict[str, Any], hosts: list[Any] = []) -> None:  # noqa: B006 - never changed
        self.settings = StoreSettings(kind="cql", hosts=("h",), local_dc="dc", keyspace="ks")
        self.answers, self.asked, self._hosts = answers, [], hosts

    def rows(self, query: str, values: Any = (), **_: Any) -> Any:
        self.asked.append((query, tuple(values)))
        found = next((answer for start, answer in self.answers.items() if query.startswith(start)), [])
        if isinstance(found, Exception):
            raise found
        return found

    def hosts(self) -> list[Any]:
        return self._hosts


def test_scylladb_is_known_by_its_versions_table():
    connection = Recorded({"SELECT version FROM system.versions": [{"version": "2026.1.3"}]})
    found = detect(connection)
    assert (found.product, found.version) == ("ScyllaDB", "2026.1.3")
    assert connection.asked == [("SELECT version FROM system.versions WHERE key = 'local'", ())]


def test_a_scylladb_that_does_not_tell_this_user_its_version_is_one_all_the_same():
    refused = NotPermitted("h does not permit asking for the server's version")
    found = detect(Recorded({"SELECT version FROM system.versions": refused}))
    assert (found.product, found.version, found.several_indexes) == ("ScyllaDB", "", False)
    found.check_index(Recorded({"SELECT initial_tablets": [{"initial_tablets": 0}]}), INDEX)
    assert found.index_options(Index("i", "articles", "embedding", 3, IndexSettings(quantization="i8")))


def test_tablets_that_may_not_be_read_are_unknown():
    connection = Recorded({"SELECT id": [{"id": 1}], "SELECT last_token": NotPermitted("no")})
    assert Scylla("2026.1.0").tablets(connection, "ks", "articles") == []


def test_cassandra_is_known_by_its_lack():
    connection = Recorded(
        {
            "SELECT version FROM system.versions": SchemaError("table versions does not exist"),
            "SELECT release_version FROM system.local": [{"release_version": "5.0.5"}],
        }
    )
    found = detect(connection)
    assert (found.product, found.version) == ("Apache Cassandra", "5.0.5")


@pytest.mark.parametrize("version", ["6.2.1", "2025.1.0-0.20250325.9dca28d2b818", "2025.3.9"])
def test_a_scylladb_too_old_for_vectors(version):
    with pytest.raises(SchemaError, match=f"ScyllaDB {version} has no vector indexes: use ScyllaDB 2025.4 or later"):
        Scylla(version).check_index(Recorded({}), INDEX)


@pytest.mark.parametrize("options", [{"quantization": "i8"}, {"oversampling": 2.0}, {"rescoring": True}], ids=str)
def test_an_option_that_came_later_is_refused_by_a_server_without_it(options):
    (name,) = options
    index = Index("i", "articles", "embedding", 3, IndexSettings(**options))
    assert Scylla("2026.1.0").index_options(index)[name]
    with pytest.raises(SchemaError, match=f"cannot have {name}: ScyllaDB 2025.4.2 does not know it, 2026.1 does"):
        Scylla("2025.4.2").index_options(index)


def test_a_cassandra_too_old_for_vectors():
    with pytest.raises(SchemaError, match=r"Apache Cassandra 4.1.7 has no vectors: use Cassandra 5.0 or later"):
        Cassandra("4.1.7").check_index(Recorded({}), INDEX)


def test_a_keyspace_without_tablets_is_refused():
    connection = Recorded({"SELECT initial_tablets": []})
    with pytest.raises(SchemaError, match="the keyspace ks has no tablets"):
        Scylla("2026.1.0").check_index(connection, INDEX)
    assert connection.asked == [
        ("SELECT initial_tablets FROM system_schema.scylla_keyspaces WHERE keyspace_name = ?", ("ks",))
    ]


def test_a_keyspace_with_tablets_is_taken():
    Scylla("2026.1.0").check_index(Recorded({"SELECT initial_tablets": [{"initial_tablets": 0}]}), INDEX)


def test_too_many_dimensions_are_refused():
    wide = Index("i", "articles", "embedding", 16_001, IndexSettings())
    with pytest.raises(SchemaError, match="16000 dimensions at most"):
        Scylla("2026.1.0").check_index(Recorded({}), wide)


class VectorStore(BaseHTTPRequestHandler):
    """Answers the status address as the vector store does."""

    answers: dict[str, tuple[Any, ...]] = {}  # noqa: RUF012 - set by each test

    def do_GET(self) -> None:
        code, body, *more = self.answers.get(self.path, (404, b"missing"))
        self.send_response(code)
        self.send_header("Content-Length", str(more[0] if more else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def vector_store() -> Iterator[tuple[str, dict[str, tuple[Any, ...]]]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), VectorStore) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        VectorStore.answers = {}
        yield f"http://127.0.0.1:{server.server_address[1]}", VectorStore.answers
        server.shutdown()
        thread.join()


def said(status: str, count: int, progress: float | None = None) -> tuple[int, bytes]:
    more = {} if progress is None else {"build_progress": progress}
    return 200, json.dumps({"status": status, "count": count, **more}).encode()


def asking(*addresses: str, **more: Any) -> Scylla:
    settings = StoreSettings(kind="cql", hosts=("h",), local_dc="dc", keyspace="ks", vector_status=addresses, **more)
    return Scylla("2026.1.0", settings)


PATH = "/api/v1/indexes/ks/articles_idx/status"


@pytest.mark.parametrize(
    ("answer", "status", "rows"),
    [
        (said("SERVING", 1400), "serving", 1400),
        (said("BOOTSTRAPPING", 12), "building", 12),
        (said("INITIALIZING", 0), "building", 0),
        ((404, b"missing index"), "building", None),
        ((500, b"oops"), "building", None),
        ((200, b"not json"), "building", None),
        ((200, b'{"status": "SERVING"}'), "building", None),
        ((200, b'{"status": "SERVING", "count": Infinity}'), "building", None),
        ((200, b'{"status": "SERVING", "count": 1, "build_progress": "much"}'), "building", None),
        ((200, b'["SERVING", 1]'), "building", None),
        ((200, b"null"), "building", None),
        ((200, b"[" * 60_000), "building", None),
        ((200, b"\xff\xfe"), "building", None),
        ((200, b'{"status": "SERVING", "count": 1, "build_progress": NaN}'), "building", None),
        ((200, b'{"status": "SERVING", "count": -1}'), "building", None),
        ((200, b'{"status": "SERVING", "count": true}'), "building", None),
        ((200, b'{"status": "\\u001b[2J", "count": 1}'), "building", None),
        (said("S" * 60_000, 1), "building", None),
        ((204, b""), "building", None),
        ((302, b""), "building", None),
        (said("SERVING", 1400, 100.0), "serving", 1400),
        (said("SERVING", 1400, 83.5), "failed", 1400),
    ],
)
def test_the_status_address_is_asked(vector_store, answer, status, rows):
    address, answers = vector_store
    answers[PATH] = answer
    state = asking(f"{address}/").index_state(Recorded({}), INDEX, "")
    assert (state.status, state.rows) == (status, rows)
    assert bool(state.reason) == (status != "serving")
    assert state.reason.isprintable()
    assert len(state.reason) < 300


def test_every_vector_store_must_serve(vector_store):
    address, answers = vector_store
    answers[PATH] = said("SERVING", 9)
    state = asking(address, "http://127.0.0.1:9").index_state(Recorded({}), INDEX, "")
    assert state.status == "building"
    assert "http://127.0.0.1:9 does not answer" in state.reason


def test_one_of_three_stores_that_still_builds_is_waited_for(vector_store):
    """Each path is a store of its own here, as behind one gateway."""
    address, answers = vector_store
    for name, answer in (("one", said("SERVING", 9)), ("two", (503, b"building")), ("three", said("SERVING", 9))):
        answers[f"/{name}{PATH}"] = answer
    stores = asking(*(f"{address}/{name}" for name in ("one", "two", "three")))
    state = stores.index_state(Recorded({}), INDEX, "")
    assert (state.status, state.reason) == ("building", f"the vector store {address}/two answers 503")
    answers[f"/two{PATH}"] = said("SERVING", 7)
    state = stores.index_state(Recorded({}), INDEX, "")
    assert (state.status, state.rows) == ("serving", 7)


def test_a_new_index_of_an_old_name_is_not_taken_for_the_old_one(vector_store):
    """The store may still speak of the dropped one; after some seconds it has seen the schema."""
    address, answers = vector_store
    answers[PATH] = said("SERVING", 9)
    version = uuid.uuid1()
    made_ms = round(float(unix_time_from_uuid1(version)) * 1000)
    states = [
        asking(address).index_state(
            Recorded({"SELECT toUnixTimestamp(now())": [{"now_ms": made_ms + later_ms}]}), INDEX, str(version)
        )
        for later_ms in (0, 4_000, 6_000)
    ]
    assert [state.status for state in states] == ["building", "building", "serving"]
    assert states[0].reason == "the vector stores may still speak of a dropped index of that name"


def test_a_body_that_is_cut_off_is_no_status(vector_store):
    address, answers = vector_store
    whole = said("SERVING", 9)[1]
    answers[PATH] = (200, whole[:-5], len(whole))
    state = asking(address).index_state(Recorded({}), INDEX, "")
    assert state.status == "building"
    assert "\n" not in state.reason


def test_a_store_that_sends_a_byte_now_and_then_is_not_waited_for(monkeypatch):
    """Each byte comes in time, and the answer never."""
    monkeypatch.setattr("embedshift.stores.cql.vector_status.TIMEOUT_S", 0.5)
    stopped = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Header: none\r\n" * 1000:
                connection.sendall(bytes([byte]))
                if stopped.wait(0.05):
                    break

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: trickle(listening.accept()[0]))
        thread.start()
        began = time.monotonic()
        state = asking(f"http://127.0.0.1:{listening.getsockname()[1]}").index_state(Recorded({}), INDEX, "")
        took = time.monotonic() - began
        stopped.set()
        thread.join()
    assert state.status == "building"
    assert "no whole answer within 0.5 s" in state.reason
    assert took < 10


def secured(files: TlsFiles, *, asks: bool) -> ThreadingHTTPServer:
    """A vector store with the certificate of a private authority, which asks for one of the client, or not."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.server)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.ca)
    server = ThreadingHTTPServer(("127.0.0.1", 0), VectorStore)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@pytest.mark.parametrize("asks", [False, True])
def test_a_vector_store_behind_a_private_authority(tmp_path, asks):
    files = tls_files(tmp_path / "tls")
    with secured(files, asks=asks) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        VectorStore.answers = {PATH: said("SERVING", 9)}
        address = f"https://127.0.0.1:{server.server_address[1]}"
        ours = {"certificate": files.client_cert, "key": files.client_key}
        states = {
            name: asking(address, vector_tls=tls).index_state(Recorded({}), INDEX, "")
            for name, tls in (
                ("nothing", None),
                ("authority", {"ca": files.ca}),
                ("certificate", {"ca": files.ca, **ours}),
            )
        }
        server.shutdown()
        thread.join()
    assert states["nothing"].status == "building"
    assert "certificate verify failed" in states["nothing"].reason
    assert states["authority"].status == ("building" if asks else "serving")
    assert states["certificate"].status == "serving"


def test_a_file_of_the_vector_stores_encryption_that_is_missing_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"store.vector_tls.ca: there is no file .*ca.pem"):
        asking("https://vectors:6080", vector_tls={"ca": tmp_path / "ca.pem"})


NO_HOSTS = ["http://[::1", "http://a:99999", "http://:80", f"http://{'a' * 64}.b", "http://é"]


@pytest.mark.parametrize("address", ["vectors:6080", "ftp://vectors", "https://user@vectors", "https://a b", *NO_HOSTS])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValidationError, match="vector_status"):
        asking(address)


def test_without_a_status_address_a_search_is_tried():
    connection = Recorded(
        {
            "SELECT column_name, kind": [
                {"column_name": "embedding", "kind": "regular"},
                {"column_name": "id", "kind": "partition_key"},
            ]
        }
    )
    assert Scylla("2026.1.0").index_state(connection, INDEX, "").status == "serving"
    assert connection.asked[-1] == (
        "SELECT id FROM ks.articles ORDER BY embedding ANN OF ? LIMIT 1",
        ([1.0, 0.0, 0.0],),
    )
    connection.answers["SELECT id"] = StoreUnavailable("Vector Store is not ready")
    state = Scylla("2026.1.0").index_state(connection, INDEX, "")
    assert (state.status, state.reason) == ("building", "Vector Store is not ready")
    connection.answers["SELECT id"] = SchemaError("the column is not indexed")
    state = Scylla("2026.1.0").index_state(connection, INDEX, "")
    assert (state.status, state.reason) == ("failed", "the column is not indexed")


class Node:
    def __init__(self, address: str) -> None:
        self.address, self.host_id = address, uuid.uuid4()


def test_the_tablets_of_a_table_cover_the_ring():
    near, far, table_id = Node("10.0.0.1"), Node("10.0.0.2"), uuid.uuid4()
    connection = Recorded(
        {
            "SELECT id": [{"id": table_id}],
            "SELECT last_token": [
                {"last_token": MAX_TOKEN, "replicas": [(far.host_id, 1), (near.host_id, 0)]},
                {"last_token": -5, "replicas": [(near.host_id, 3)]},
                {"last_token": 0, "replicas": [(uuid.uuid4(), 0)]},
            ],
        },
        [near, far],
    )
    pieces = Scylla("2026.1.0").tablets(connection, "ks", "articles")
    assert [piece.range for piece in pieces] == [
        TokenRange(MIN_TOKEN, -5), TokenRange(-5, 0), TokenRange(0, MAX_TOKEN)
    ]  # fmt: skip
    assert [piece.hosts for piece in pieces] == [("10.0.0.1",), (), ("10.0.0.1", "10.0.0.2")]
    assert connection.asked == [
        ("SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?", ("ks", "articles")),
        ("SELECT last_token, replicas FROM system.tablets WHERE table_id = ?", (table_id,)),
    ]


def test_a_table_on_vnodes_has_no_tablets():
    assert Scylla("2026.1.0").tablets(Recorded({"SELECT id": [{"id": 1}]}), "ks", "articles") == []


def test_tablets_that_end_before_the_ring_does_are_completed():
    assert [piece.range for piece in pieces_of_tablets([(0, ())], {})] == [
        TokenRange(MIN_TOKEN, 0), TokenRange(0, MAX_TOKEN)
    ]  # fmt: skip


def test_a_collection_takes_the_time_of_the_row_s_latest_cell():
    present = np.array([True, True, True, False])
    pairs = [
        (pa.array([10, 50, None, 10], pa.int64()), pa.array([None, 7, None, None], pa.int32())),
        (pa.array([20, 40, None, 10], pa.int64()), pa.array([9, None, None, None], pa.int32())),
    ]
    assert inherited(present, pairs, pa.int64()).to_pylist() == [20, 50, MIN_WRITE_TIME_US, None]
    assert inherited(present, pairs, pa.int32()).to_pylist() == [9, 7, None, None]


def test_what_scylladb_cannot_tell_is_said():
    table = Table("t", (Column("id", "int", "partition"), Column("tags", "set<text>"), Column("title", "text")))
    assert any("ScyllaDB does not tell when tags were written" in line for line in remarks(table, Scylla("2026.1.0")))


@pytest.mark.parametrize("metric", ["cosine", "dot_product", "euclidean"])
def test_scores_from_vectors_equal_scores_from_cassandra_s_functions(metric):
    rng = np.random.default_rng(3)
    vectors, query = rng.standard_normal((20, 8)).astype(np.float32), rng.standard_normal(8).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query /= np.linalg.norm(query)
    ours = similarities(metric, query, vectors)
    theirs = 1 / (1 - ours) if metric == "euclidean" else (1 + ours) / 2
    assert from_similarity(metric, theirs.astype(np.float32)) == pytest.approx(ours, abs=1e-5)
    assert (ours <= 1.0001).all()
