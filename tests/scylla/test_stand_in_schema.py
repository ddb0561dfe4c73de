"""The stand-in against SCYLLADB.md: the schema, rights, reserved names, searches, and the vector store."""

from __future__ import annotations

import time

import pytest
from cassandra import InvalidRequest, Unauthorized
from cassandra.cluster import Session
from cassandra.protocol import ConfigurationException, SyntaxException

from tests.scylla.servers import Server, connected
from tests.scylla.shelves import Shelf, X, Y, new_name
from tests.scylla.stand_in import StandIn

pytestmark = pytest.mark.long


def test_a_driver_steps_down_to_version_4_and_stays_at_the_proxy(server: Server):
    session = connected(server.settings)
    try:
        assert session.cluster.protocol_version == 4
        if server.stand_in is not None:
            (host,) = session.cluster.metadata.all_hosts()
            assert host.endpoint.port == server.settings.port
            assert host.sharding_info is not None
    finally:
        session.cluster.shutdown()


def test_it_is_known_by_its_versions_table(session: Session):
    (row,) = session.execute("SELECT version FROM system.versions WHERE key = 'local'")
    assert row["version"][:2] == "20"
    with pytest.raises(InvalidRequest):
        session.execute("SELECT * FROM system_views.settings")


@pytest.mark.parametrize("name", ["ann", "concurrency", "vector_search_indexing", "text_search_indexing"])
def test_reserved_names_must_be_quoted(session: Session, name: str):
    table = new_name()
    with pytest.raises(SyntaxException):
        session.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, {name} text)")
    session.execute(f'CREATE TABLE {table} (id text PRIMARY KEY, "{name}" text)')
    with pytest.raises(SyntaxException):
        session.execute(f"SELECT {name} FROM {table}")
    session.execute(f'SELECT "{name}" FROM {table} BYPASS CACHE USING TIMEOUT 5s')
    session.execute(f"DROP TABLE {table}")


def test_rights_on_the_keyspace_alone(session: Session, server: Server, stand_in: StandIn):
    prepared = session.prepare("SELECT value FROM system.config WHERE name = ?")
    stand_in.set_rights(keyspace_alone=True)
    other = connected(server.settings, protocol_version=4)  # that user can connect
    try:
        for table in ("versions", "tablets", "config", "size_estimates"):
            with pytest.raises(Unauthorized, match="has no SELECT permission"):
                other.execute(f"SELECT * FROM system.{table}")
        with pytest.raises(Unauthorized):
            session.execute(prepared, ("auto_snapshot",))
        other.execute("SELECT * FROM system_schema.scylla_tables")
        other.execute("SELECT * FROM system.cdc_timestamps")
    finally:
        other.cluster.shutdown()


def test_tablets(shelf: Shelf):
    session = shelf.session
    (keyspace,) = session.execute(
        "SELECT initial_tablets FROM system_schema.scylla_keyspaces WHERE keyspace_name = %s", (shelf.keyspace,)
    )
    assert keyspace["initial_tablets"] is not None
    query = "SELECT id FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s"
    (table,) = session.execute(query, (shelf.keyspace, shelf.table))
    query = "SELECT last_token, replicas FROM system.tablets WHERE table_id = %s"
    tablets = list(session.execute(query, (table["id"],)))
    assert max(row["last_token"] for row in tablets) == 2**63 - 1
    known = {host.host_id for host in session.cluster.metadata.all_hosts()}
    assert all(host in known for row in tablets for host, _ in row["replicas"])


def test_a_keyspace_without_tablets_has_no_vector_index(session: Session, server: Server):
    keyspace = new_name()
    replication = f"{{'class': 'NetworkTopologyStrategy', '{server.settings.local_dc}': 1}}"
    session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication} AND tablets = {{'enabled': false}}")
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v vector<float, 3>)")
    with pytest.raises(InvalidRequest, match="to use tablets"):
        session.execute(f"CREATE CUSTOM INDEX i ON {keyspace}.t (v) USING 'vector_index'")
    session.execute(f"DROP KEYSPACE {keyspace}")


def test_tablets_may_be_enforced(session: Session, server: Server, stand_in: StandIn):
    stand_in.set_tablets_mode("enforced")
    replication = f"{{'class': 'NetworkTopologyStrategy', '{server.settings.local_dc}': 1}}"
    with pytest.raises(ConfigurationException, match="tablets are enforced"):
        session.execute(f"CREATE KEYSPACE no WITH replication = {replication} AND tablets = {{'enabled': false}}")


def test_the_index_is_seen_in_the_schema(shelf: Shelf):
    shelf.create_index(similarity_function="EUCLIDEAN")
    shelf.session.execute(f"CREATE CUSTOM INDEX IF NOT EXISTS {shelf.index} ON {shelf.table} (v) USING 'vector_index'")
    query = "SELECT * FROM system_schema.indexes WHERE keyspace_name = %s AND table_name = %s"
    (row,) = shelf.session.execute(query, (shelf.keyspace, shelf.table))
    assert (row["index_name"], row["kind"]) == (shelf.index, "CUSTOM")
    options = dict(row["options"])
    assert options.pop("index_version")
    assert options == {"class_name": "vector_index", "target": "v", "similarity_function": "EUCLIDEAN"}
    known = shelf.session.cluster.metadata.keyspaces[shelf.keyspace].tables[shelf.table]
    assert list(known.indexes) == [shelf.index]


@pytest.mark.parametrize(
    ("columns", "target"),
    [("v, title", '{"tc":"v","fc":["title"]}'), ("(id), v", '{"tc":"v","pk":["id"]}')],
)
def test_the_target_of_more_columns_is_json(shelf: Shelf, columns: str, target: str):
    shelf.session.execute(f"CREATE CUSTOM INDEX {shelf.index} ON {shelf.table} ({columns}) USING 'vector_index'")
    query = "SELECT options FROM system_schema.indexes WHERE keyspace_name = %s AND table_name = %s"
    (row,) = shelf.session.execute(query, (shelf.keyspace, shelf.table))
    assert row["options"]["target"] == target


def test_wrong_indexes_are_refused(shelf: Shelf):
    for columns, options, words in (
        ("nothing", "", "not found in schema"),
        ("title", "", "only supported on columns of vectors"),
        ("v", " WITH OPTIONS = {'wings': '2'}", "Unsupported option wings"),
        ("v", " WITH OPTIONS = {'maximum_node_connections': '513'}", "maximum_node_connections"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            shelf.session.execute(f"CREATE CUSTOM INDEX ON {shelf.table} ({columns}) USING 'vector_index'{options}")
    shelf.create_index()
    with pytest.raises(InvalidRequest, match="already exists"):
        shelf.create_index()


def test_several_indexes_on_one_column_since_2026_2(shelf: Shelf, stand_in: StandIn, eventually):
    shelf.put("a", X)
    shelf.serving(eventually)
    stand_in.set_version("2026.1.4")
    with pytest.raises(InvalidRequest, match="duplicate custom index"):
        shelf.create_index("second_idx")
    stand_in.set_version("2026.2.2")
    stand_in.vector_store.holds_scans.set()
    shelf.create_index("second_idx", similarity_function="EUCLIDEAN")
    eventually(lambda: shelf.status("second_idx"))
    assert shelf.status("second_idx")["status"] != "SERVING"
    assert shelf.search(X) == ["a"]  # the older one serves meanwhile
    stand_in.vector_store.holds_scans.clear()
    eventually(lambda: shelf.status("second_idx")["status"] == "SERVING")
    shelf.session.execute(f"DROP INDEX {shelf.index}")
    assert shelf.search(X) == ["a"]


def test_the_vector_store_answers_by_name_for_an_index_that_is_gone(shelf: Shelf, stand_in: StandIn, eventually):
    shelf.put("a", X)
    for _ in range(5):  # unless the poll of the schema falls between
        shelf.serving(eventually)
        shelf.session.execute(f"DROP INDEX {shelf.index}")
        shelf.put("b", Y)
        stand_in.vector_store.holds_scans.set()
        shelf.create_index()
        seen = shelf.status()
        eventually(lambda: (shelf.status() or {}).get("status") == "INITIALIZING")
        stand_in.vector_store.holds_scans.clear()
        if seen is not None and seen["status"] == "SERVING":
            break
        shelf.session.execute(f"DROP INDEX {shelf.index}")
    assert seen is not None
    assert seen["status"] == "SERVING"
    eventually(lambda: (shelf.status() or {}).get("status") == "SERVING")


def test_an_undiscovered_index_is_not_found(shelf: Shelf):
    assert shelf.status("no_such_idx") is None


def test_ann_needs_an_index_and_a_limit(shelf: Shelf, eventually):
    with pytest.raises(InvalidRequest, match="ANN ordering by vector requires the column to be indexed"):
        shelf.search(X)
    with pytest.raises(InvalidRequest, match="ANN ordering by vector requires the column to be indexed"):
        shelf.session.prepare(f"SELECT id FROM {shelf.table} ORDER BY v ANN OF ? LIMIT ?")
    shelf.serving(eventually)
    with pytest.raises(InvalidRequest, match=r"LIMIT that is not greater than 1000\. LIMIT was 1001"):
        shelf.search(X, 1001)
    with pytest.raises(InvalidRequest, match="must have a limit"):
        shelf.session.execute(f"SELECT id FROM {shelf.table} ORDER BY v ANN OF [1, 0, 0]")


def test_a_prepared_search_with_scores(shelf: Shelf, eventually):
    for id_, vector in (("a", [1.0, 0.0, 0.0]), ("b", [0.8, 0.6, 0.0]), ("c", [0.0, 1.0, 0.0])):
        shelf.put(id_, vector, title=id_.upper())
    shelf.serving(eventually)
    query = shelf.session.prepare(
        f"SELECT id, title, similarity_cosine(v, ?) AS score FROM {shelf.table} ORDER BY v ANN OF ? LIMIT ?"
    )
    found = list(shelf.session.execute(query, (X, X, 2)))
    assert [(row["id"], row["title"]) for row in found] == [("a", "A"), ("b", "B")]
    assert [row["score"] for row in found] == pytest.approx([1.0, 0.9])
    shelf.session.execute(f"TRUNCATE {shelf.table}")
    assert list(shelf.session.execute(query, (X, X, 2))) == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("unavailable", "Vector Store service is unavailable"),
        ("hang", "Vector Store request was aborted"),
        ("constructing", r"HTTP status 503 .*still being constructed, progress: \d+\.\d{3}%"),
        ("missing", "HTTP status 404 .*missing index"),
        ("error", "HTTP status 500"),
    ],
)
def test_failures_of_the_vector_store(shelf: Shelf, stand_in: StandIn, eventually, failure: str, words: str):
    shelf.serving(eventually)
    stand_in.vector_store.failure = failure
    with pytest.raises(InvalidRequest, match=words):
        shelf.search(X)


def test_a_vector_store_without_an_address(shelf: Shelf, stand_in: StandIn, eventually):
    shelf.serving(eventually)
    stand_in.set_vector_store_address("")
    with pytest.raises(InvalidRequest, match="could not be fetched from DNS"):
        shelf.search(X)


def test_an_index_that_is_new_is_constructed_first(shelf: Shelf, stand_in: StandIn, eventually):
    stand_in.vector_store.holds_scans.set()
    shelf.create_index()
    with pytest.raises(InvalidRequest, match=r"HTTP status (404|503)"):
        shelf.search(X)
    eventually(shelf.status)
    with pytest.raises(InvalidRequest, match=r"HTTP status 503 .*still being constructed"):
        shelf.search(X)
    stand_in.vector_store.holds_scans.clear()
    eventually(lambda: shelf.searches(X))


def test_a_table_with_an_index_keeps_its_cdc(shelf: Shelf):
    shelf.create_index()
    with pytest.raises(InvalidRequest):
        shelf.session.execute(f"ALTER TABLE {shelf.table} WITH cdc = {{'enabled': false}}")


def test_dropping_the_table_drops_the_rest(session: Session, server: Server, eventually):
    table = new_name()
    session.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, title text, v vector<float, 3>)")
    shelf = Shelf(session, server, table)
    shelf.serving(eventually)
    session.execute(f"DROP TABLE {table}")
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
    assert f"{table}_scylla_cdc_log" not in {row["table_name"] for row in session.execute(query, (shelf.keyspace,))}
    time.sleep(0.1)
    eventually(lambda: shelf.status() is None)


def test_a_keyspace_is_dropped_with_its_indexes_and_logs(session: Session, server: Server):
    keyspace = new_name()
    replication = f"{{'class': 'NetworkTopologyStrategy', '{server.settings.local_dc}': 1}}"
    for _ in range(2):
        session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")  # with tablets, by default
        session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v vector<float, 3>)")
        session.execute(f"INSERT INTO {keyspace}.t (id, v) VALUES (1, [1, 0, 0]) USING TIMESTAMP 1")
        session.execute(f"CREATE CUSTOM INDEX i ON {keyspace}.t (v) USING 'vector_index'")
        session.execute(f"INSERT INTO {keyspace}.t (id, v) VALUES (2, [1, 0, 0])")
        assert len(list(session.execute(f"SELECT * FROM {keyspace}.t_scylla_cdc_log"))) == 1
        session.execute(f"DROP KEYSPACE {keyspace}")
    for table in ("indexes", "scylla_tables", "scylla_keyspaces"):
        assert not list(session.execute(f"SELECT * FROM system_schema.{table} WHERE keyspace_name = '{keyspace}'"))
    query = "SELECT * FROM system.cdc_timestamps WHERE keyspace_name = %s AND table_name = 't'"
    assert not list(session.execute(query, (keyspace,)))
