"""Vector indexes on a real Cassandra: what is allowed is known before it is needed."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from embedshift.errors import SchemaError, StoreUnavailable
from embedshift.settings import IndexSettings
from embedshift.stores.cql import cassandra as dialect
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column, Index, Table
from tests.cluster.conftest import settings_of

DIMENSION = 4
SECRET = "not-a-superuser"


@pytest.fixture
def table(store, new_name) -> Table:
    made = Table(new_name(), (Column("id", "int", "partition"), Column("v", f"vector<float, {DIMENSION}>")))
    store.create(made)
    return made


@pytest.fixture
def new_index(new_name):
    def make(table: Table, **options: object) -> Index:
        return Index(new_name(), table.name, "v", DIMENSION, IndexSettings(**options))

    return make


def rows(*vectors: list[float], at: int = 10) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(range(len(vectors)), pa.int32()),
            "v": pa.array(vectors, pa.list_(pa.float32(), DIMENSION)),
            "writetime(v)": pa.array([at] * len(vectors), pa.int64()),
        }
    )


def test_options_reach_the_server(store, settings, table, new_index, eventually):
    index = new_index(table, metric="euclidean", connections=8, expansion_add=50)
    store.check_index(index)
    store.create_index(index)
    query = "SELECT index_name, options FROM system_schema.indexes WHERE keyspace_name = ?"
    found = {row["index_name"]: row["options"] for row in store.connection.rows(query, (settings.keyspace,), doing="x")}
    assert dict(found[index.name]) == {
        "class_name": "StorageAttachedIndex",
        "target": "v",
        "similarity_function": "euclidean",
        "maximum_node_connections": "8",
        "construction_beam_width": "50",
    }
    store.create_index(index)
    eventually(lambda: store.index_state(index).status == "serving")
    store.drop_index(index)
    assert store.index_state(index).status == "absent"


def test_a_node_that_takes_no_widths_is_found_out_before_the_night(store, table, new_index, monkeypatch):
    # The tests' node is started with the property; a name that no node has stands for one started without.
    monkeypatch.setattr(dialect, "ALLOW", "cassandra.sai.vector.not_set_anywhere")
    store.check_index(new_index(table))
    with pytest.raises(SchemaError, match=r"refuses target\.index\.connections: start the nodes with -Dcassandra"):
        store.check_index(new_index(table, connections=16))


def test_guardrails_hold_for_ordinary_users_alone(guarded, password_file, new_name, tmp_path, monkeypatch):
    files = guarded.tls_files
    tls = {"ca": files.ca, "certificate": files.client_cert, "key": files.client_key}
    index = Index(new_name(), "articles", "v", DIMENSION, IndexSettings())
    limits = {"secondary_indexes_enabled": "false"}
    monkeypatch.setattr(dialect, "setting_of", lambda connection, host, view, name, unknown: limits.get(name, unknown))
    limited = tmp_path / "limited"
    limited.write_text(f"clerk\n{SECRET}\n")
    settings = settings_of(guarded, tls=tls, credentials_file=password_file)
    with closing(CqlStore.open(settings)) as store:
        store.connection.define(
            f"CREATE ROLE IF NOT EXISTS clerk WITH PASSWORD = '{SECRET}' AND LOGIN = true", "a role"
        )
        store.check_index(index)
    with (
        closing(CqlStore.open(settings.model_copy(update={"credentials_file": limited}))) as store,
        pytest.raises(SchemaError, match="lets this user make no indexes: set secondary_indexes_enabled: true"),
    ):
        store.check_index(index)
    # A user who may not ask for the state of an index is told so now, not after the load.
    limits["secondary_indexes_enabled"] = "true"
    with (
        closing(CqlStore.open(settings.model_copy(update={"credentials_file": limited}))) as store,
        pytest.raises(StoreUnavailable, match="does not permit asking whether the state of indexes may be read"),
    ):
        store.check_index(index)


def test_a_setting_that_may_not_be_read_is_not_held_against_the_node(store):
    (host,) = store.connection.hosts()
    assert dialect.setting_of(store.connection, host, "no_such_view", "x", "unknown") == "unknown"
    assert dialect.setting_of(store.connection, host, "settings", "secondary_indexes_enabled", "unknown") == "true"


@pytest.mark.parametrize("metric", ["cosine", "dot_product", "euclidean"])
def test_scores_are_exact(store, table, new_index, eventually, metric):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((30, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store.write(table, rows(*vectors.tolist()))
    index = new_index(table, metric=metric)
    store.create_index(index)
    eventually(lambda: store.index_state(index).status == "serving")
    hits = store.search(table, index, vectors[7], 5)
    assert hits[0].values == {"id": 7}
    for hit in hits:
        other = vectors[hit.values["id"]]
        exact = -np.square(other - vectors[7]).sum() if metric == "euclidean" else other @ vectors[7]
        assert hit.score == pytest.approx(exact, abs=1e-4)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_vector_of_zeros_is_rejected_alone_by_an_index_of_angles(store, table, new_index, eventually):
    index = new_index(table)
    store.create_index(index)
    eventually(lambda: store.index_state(index).status == "serving")
    (rejection,) = store.write(table, rows([1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]))
    assert rejection.row == 1
    assert "no direction" in rejection.reason
    (rejection,) = store.write(table, rows([0, 0, 0, 0], at=20))
    assert rejection.row == 0


def test_an_index_that_nobody_builds_is_called_failed_in_the_end(monkeypatch):
    node = SimpleNamespace(address="10.0.0.1")
    said = {"index_name": "i", "is_queryable": False, "is_building": False}
    connection = SimpleNamespace(keyspace="ks", hosts=lambda: [node], rows=lambda *_, **__: [said])
    index = Index("i", "t", "v", DIMENSION, IndexSettings())
    cassandra = dialect.Cassandra("5.0.5")
    now = [100.0]
    monkeypatch.setattr(dialect.time, "monotonic", lambda: now[0])
    assert cassandra.index_state(connection, index, "").status == "building"
    now[0] += dialect.IDLE_S_MAX
    failed = cassandra.index_state(connection, index, "")
    assert (failed.status, "10.0.0.1" in failed.reason) == ("failed", True)
    said["is_building"] = True
    assert cassandra.index_state(connection, index, "").status == "building"
    said["is_building"] = False
    assert cassandra.index_state(connection, index, "").status == "building"
