"""Every way in which a cluster can say no is one line, of the right class, with a hint, and without a secret."""

from __future__ import annotations

import logging
import select
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embedshift.errors import EmbedshiftError, InputError, SchemaError, SettingsError, StoreUnavailable
from embedshift.settings import StoreSettings, TlsSettings
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column, Table
from embedshift.tokens import WHOLE_RING
from tests.cluster.conftest import settings_of

SECRET = "hunter2-and-more"


def refusal(settings: StoreSettings) -> EmbedshiftError:
    with pytest.raises(EmbedshiftError) as caught:
        CqlStore.open(settings)
    error = caught.value
    assert "\n" not in str(error)
    assert error.hint
    assert SECRET not in repr(error) + str(error) + str(error.__cause__)
    return error


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def tls_of(guarded, **changes) -> dict[str, object]:
    files = guarded.tls_files
    return {"ca": files.ca, "certificate": files.client_cert, "key": files.client_key, **changes}


@contextmanager
def relay(address: str, guarded) -> Iterator[int]:
    """Passes bytes between ``address`` and the node: the same server, at an address that its certificate lacks."""

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((guarded.hosts[0], guarded.port)) as node:
                ends = {self.request: node, node: self.request}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        data = end.recv(65536)
                        if not data:
                            return
                        ends[end].sendall(data)

    with socketserver.ThreadingTCPServer((address, 0), Passing) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_host_without_an_address(cassandra):
    error = refusal(settings_of(cassandra, hosts=("nowhere.invalid",)))
    assert type(error) is StoreUnavailable
    assert "nowhere.invalid" in error.what
    assert "store.hosts" in error.hint


def test_a_port_where_nothing_listens(cassandra, unused_port):
    error = refusal(settings_of(cassandra, port=unused_port))
    assert type(error) is StoreUnavailable
    assert str(error) == (
        f"nothing listens at 127.0.0.1:{unused_port}: check store.hosts and store.port, and that the server runs"
    )


def test_a_port_where_something_else_listens(cassandra):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = settings_of(cassandra, port=mute.getsockname()[1], connect_timeout="300ms")
        error = refusal(settings)
    assert type(error) is StoreUnavailable
    assert "store.port" in error.hint


def test_a_datacenter_that_is_not_there_names_those_that_are(cassandra):
    error = refusal(settings_of(cassandra, local_dc="moon"))
    assert type(error) is SettingsError
    assert str(error) == (
        f"the cluster has no datacenter 'moon', it has {cassandra.datacenter}: "
        f"set store.local_dc: {cassandra.datacenter}"
    )


def test_a_consistency_level_that_is_none(cassandra):
    error = refusal(settings_of(cassandra, consistency={"read": "MOST"}))
    assert type(error) is SettingsError
    assert "store.consistency.read" in error.what
    assert "LOCAL_QUORUM" in error.hint


def test_a_keyspace_that_is_not_there(cassandra):
    with closing(CqlStore.open(settings_of(cassandra, keyspace="nowhere"))) as store:
        assert not store.exists("articles")
        with pytest.raises(SchemaError, match=r"has no keyspace nowhere: .* embedshift schema apply"):
            store.describe("articles")
        with pytest.raises(SchemaError, match="keyspace"):
            store.create(Table("articles", (Column("id", "uuid", "partition"),)))


def test_a_table_that_is_not_there(store):
    with pytest.raises(SchemaError, match=r"has no table articles_ks\.nothing: .* embedshift schema apply"):
        store.describe("nothing")


def test_a_table_that_goes_away_under_a_reader_and_a_writer(store, new_name):
    table = Table(new_name(), (Column("id", "int", "partition"),))
    store.create(table)
    store.drop(table.name)
    rows = pa.RecordBatch.from_pydict({"id": pa.array([1], pa.int32())})
    with pytest.raises(SchemaError, match="does not exist"):
        list(store.scan(table, WHOLE_RING))
    with pytest.raises(SchemaError, match="does not exist"):
        store.write(table, rows)


def test_a_row_that_is_too_large_is_rejected_alone(store, new_name):
    table = Table(new_name(), (Column("id", "int", "partition"), Column("body", "blob")))
    store.create(table)
    rows = pa.RecordBatch.from_pydict(
        {
            "id": pa.array([1, 2, 3], pa.int32()),
            "body": pa.array([b"small", b"x" * (17 << 20), b"small"]),
            "writetime(body)": pa.array([10, 10, 10], pa.int64()),
        }
    )
    (rejection,) = store.write(table, rows)
    assert rejection.row == 1
    assert "16777216" in rejection.reason
    found = store.fetch(table, rows.select(["id"]))
    assert sorted(found.column("id").to_pylist()) == [1, 3]


def test_a_key_that_is_too_long_is_rejected_alone(store, new_name):
    table = Table(new_name(), (Column("id", "text", "partition"),))
    store.create(table)
    (rejection,) = store.write(table, pa.RecordBatch.from_pydict({"id": ["x" * 70_000, "short"]}))
    assert rejection.row == 0
    assert "65535" in rejection.reason


def test_the_right_password_and_certificates_open_a_guarded_node(guarded, password_file, caplog):
    settings = settings_of(guarded, tls=tls_of(guarded), credentials_file=password_file)
    with caplog.at_level(logging.DEBUG), closing(CqlStore.open(settings)) as store:
        assert store.label.startswith("Apache Cassandra 5.")
        assert not store.exists("articles")


def test_credentials_may_come_from_the_environment(guarded, monkeypatch):
    user, password = guarded.credentials
    monkeypatch.setenv("SCYLLA_USERNAME", user)
    monkeypatch.setenv("SCYLLA_PASSWORD", password)
    CqlStore.open(settings_of(guarded, tls=tls_of(guarded))).close()


def test_no_password(guarded):
    error = refusal(settings_of(guarded, tls=tls_of(guarded)))
    assert type(error) is StoreUnavailable
    assert "asks for a user and a password" in error.what
    assert "SCYLLA_USERNAME" in error.hint


def test_a_wrong_password(guarded, tmp_path):
    wrong = tmp_path / "credentials"
    wrong.write_text(f"cassandra\n{SECRET}\n")
    error = refusal(settings_of(guarded, tls=tls_of(guarded), credentials_file=wrong))
    assert type(error) is StoreUnavailable
    assert "does not accept the password of user 'cassandra'" in error.what


def test_an_authority_that_signed_nothing(guarded, tmp_path, password_file):
    stranger = tmp_path / "stranger.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
         "/CN=stranger", "-days", "2", "-keyout", tmp_path / "stranger.key", "-out", stranger],
        check=True,
        capture_output=True,
    )  # fmt: skip
    error = refusal(settings_of(guarded, tls=tls_of(guarded, ca=stranger), credentials_file=password_file))
    assert type(error) is StoreUnavailable
    assert "certificate" in error.what
    assert "is not trusted" in error.what
    assert "store.tls.ca" in error.hint


def test_a_certificate_for_another_address(guarded, password_file):
    with relay("127.0.0.9", guarded) as port:
        found = {"hosts": ("127.0.0.9",), "port": port, "credentials_file": password_file}
        error = refusal(settings_of(guarded, tls=tls_of(guarded), **found))
    assert type(error) is StoreUnavailable
    assert "127.0.0.9" in error.what
    assert "is not trusted (IP address mismatch" in error.what
    assert "check_hostname" in error.hint


def test_no_client_certificate(guarded, password_file):
    bare = TlsSettings(ca=guarded.tls_files.ca)
    error = refusal(settings_of(guarded, tls=bare, credentials_file=password_file))
    assert type(error) is StoreUnavailable


def test_no_encryption_where_it_is_demanded(guarded, password_file):
    error = refusal(settings_of(guarded, credentials_file=password_file, connect_timeout="3s"))
    assert type(error) is StoreUnavailable
    assert "store.tls" in error.hint


def test_encryption_where_there_is_none(cassandra, guarded):
    error = refusal(settings_of(cassandra, tls=tls_of(guarded), connect_timeout="3s"))
    assert type(error) is StoreUnavailable
    assert "TLS" in error.hint


def test_a_file_that_is_not_there(cassandra):
    error = refusal(settings_of(cassandra, tls={"ca": Path("/nowhere/ca.pem")}, credentials_file=None))
    assert type(error) is SettingsError
    assert "store.tls.ca" in error.what


def test_a_permission_that_is_missing_is_named(guarded, password_file, tmp_path, new_name):
    table = Table(new_name(), (Column("id", "int", "partition"), Column("v", "vector<float, 2>")))
    limited = tmp_path / "limited"
    limited.write_text(f"reader\n{SECRET}\n")
    settings = settings_of(guarded, tls=tls_of(guarded), credentials_file=password_file)
    rows = pa.RecordBatch.from_pydict({"id": pa.array([1], pa.int32())})
    with closing(CqlStore.open(settings)) as owner:
        owner.create_keyspaces()
        owner.create(table)
        owner.write(table, rows)
        owner.connection.define(
            f"CREATE ROLE IF NOT EXISTS reader WITH PASSWORD = '{SECRET}' AND LOGIN = true", "a role"
        )
        owner.connection.define(f"GRANT SELECT ON KEYSPACE {settings.keyspace} TO reader", "a grant")
    with closing(CqlStore.open(settings.model_copy(update={"credentials_file": limited}))) as reader:
        assert sum(batch.num_rows for batch in reader.scan(table, WHOLE_RING)) == 1
        for forbidden in (
            lambda: reader.write(table, rows),
            lambda: reader.delete(table, rows, np.array([10], np.int64)),
            lambda: reader.create(Table(new_name(), table.columns)),
        ):
            with pytest.raises(StoreUnavailable) as caught:
                forbidden()
            assert "does not permit" in caught.value.what
            assert "reader" in caught.value.what
            assert "\n" not in str(caught.value)
            assert SECRET not in str(caught.value)


def test_more_results_than_the_server_gives(store, new_name):
    from embedshift.settings import IndexSettings
    from embedshift.stores.model import Index

    table = Table(new_name(), (Column("id", "int", "partition"), Column("v", "vector<float, 2>")))
    store.create(table)
    index = Index(new_name(), table.name, "v", 2, IndexSettings())
    with pytest.raises(InputError, match="1 to 1000 results"):
        store.search(table, index, np.ones(2, np.float32), 1001)
    with pytest.raises(SchemaError, match=r"has no vector index on v: build it: embedshift index"):
        store.search(table, index, np.ones(2, np.float32), 10)
