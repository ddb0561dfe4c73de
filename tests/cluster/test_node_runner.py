"""The runner of real Cassandra nodes, on which the other cluster tests stand."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy

from scripts.cassandra_node.processes import Life
from scripts.cassandra_node.waiting import until
from scripts.run_cassandra import CassandraCluster, CassandraFailed, CassandraUnavailable

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).resolve().parents[2]
# Every acknowledged write is on disk, so that a kill may lose none.
DURABLE = {"commitlog_sync": "batch", "commitlog_sync_period": None}
VECTOR = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@contextmanager
def running(cluster: CassandraCluster) -> Iterator[CassandraCluster]:
    try:
        cluster.start()
    except CassandraUnavailable as missing:
        pytest.skip(missing.reason)
    try:
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def session(
    cluster: CassandraCluster, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> Iterator[Session]:
    driver = Cluster(
        cluster.hosts,
        port=cluster.port,
        protocol_version=5,
        ssl_context=tls,
        auth_provider=PlainTextAuthProvider(*login) if login else None,
        execution_profiles={
            EXEC_PROFILE_DEFAULT: ExecutionProfile(DCAwareRoundRobinPolicy(cluster.datacenter), request_timeout=30)
        },
    )
    try:
        yield driver.connect()
    finally:
        driver.shutdown()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    with running(CassandraCluster(tmp_path_factory.mktemp("plain"), settings=DURABLE)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    with running(CassandraCluster(tmp_path_factory.mktemp("secure"), tls=True, auth=True)) as cluster:
        yield cluster


def test_a_vector_index_takes_the_options_of_its_graph_and_finds_the_nearest(plain: CassandraCluster) -> None:
    with session(plain) as cql:
        cql.execute("CREATE KEYSPACE vectors WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cql.execute("CREATE TABLE vectors.rows (id int PRIMARY KEY, embedding vector<float, 8>)")
        cql.execute(
            "CREATE CUSTOM INDEX nearest ON vectors.rows (embedding) USING 'StorageAttachedIndex' WITH OPTIONS = "
            "{'similarity_function': 'cosine', 'maximum_node_connections': '16', 'construction_beam_width': '100'}"
        )
        insert = cql.prepare("INSERT INTO vectors.rows (id, embedding) VALUES (?, ?)")
        cql.execute(insert, (1, VECTOR))
        cql.execute(insert, (2, VECTOR[::-1]))
        nearest = cql.prepare("SELECT id FROM vectors.rows ORDER BY embedding ANN OF ? LIMIT 1")
        assert cql.execute(nearest, (VECTOR,)).one().id == 1


def test_the_ring_of_one_node_has_several_ranges(plain: CassandraCluster) -> None:
    with session(plain) as cql:
        assert len(cql.execute("SELECT tokens FROM system.local").one().tokens) == 16


def test_a_killed_node_has_its_data_again_after_a_restart(plain: CassandraCluster) -> None:
    node = plain.node(0)
    with session(plain) as cql:
        cql.execute("CREATE KEYSPACE kept WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cql.execute("CREATE TABLE kept.rows (id int PRIMARY KEY)")
        for number in range(100):
            cql.execute("INSERT INTO kept.rows (id) VALUES (%s)", (number,))
        first_pid = node.pid
        node.kill()
    assert node.life is Life.GONE
    node.restart()
    assert node.pid not in (None, first_pid)
    with session(plain) as cql:
        assert {row.id for row in cql.execute("SELECT id FROM kept.rows")} == set(range(100))


def test_a_suspended_node_is_silent_until_it_is_resumed(plain: CassandraCluster) -> None:
    node = plain.node(0)
    node.suspend()
    try:
        assert node.life is Life.SUSPENDED
        assert not node.probe(None).answers()
    finally:
        node.resume()
    assert until(node.probe(None).answers, deadline_s=30)


def test_a_second_cluster_is_refused_the_folder_of_a_running_one(plain: CassandraCluster) -> None:
    with pytest.raises(CassandraFailed, match="runs already"):
        CassandraCluster(plain.root).start()


def test_the_right_certificate_and_password_are_let_in(secure: CassandraCluster) -> None:
    with session(secure, tls=secure.tls_files.client_context(), login=("cassandra", "cassandra")) as cql:
        assert cql.execute("SELECT is_superuser FROM system_auth.roles WHERE role = 'cassandra'").one().is_superuser


def test_a_wrong_password_is_refused(secure: CassandraCluster) -> None:
    with (
        pytest.raises(NoHostAvailable, match="AuthenticationFailed"),
        session(secure, tls=secure.tls_files.client_context(), login=("cassandra", "wrong")),
    ):
        pass


def test_a_client_without_a_certificate_is_refused(secure: CassandraCluster) -> None:
    without = ssl.create_default_context(cafile=str(secure.tls_files.ca))
    with pytest.raises(NoHostAvailable), session(secure, tls=without, login=("cassandra", "cassandra")):
        pass


def test_a_client_without_tls_is_refused(secure: CassandraCluster) -> None:
    with pytest.raises(NoHostAvailable), session(secure, login=("cassandra", "cassandra")):
        pass


def test_a_client_that_trusts_another_authority_stays_away(secure: CassandraCluster) -> None:
    stranger = ssl.create_default_context()
    with pytest.raises(NoHostAvailable, match="CERTIFICATE_VERIFY_FAILED"), session(secure, tls=stranger):
        pass


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    with running(CassandraCluster(tmp_path / "node")) as cluster:
        pid = cluster.node(0).pid
        assert pid is not None
        cluster.stop()
        assert not Path(f"/proc/{pid}").exists()
        cluster.stop()  # and may be said twice
    recorded = CassandraCluster.at(tmp_path / "node")
    assert recorded is not None
    assert not recorded.is_running


def test_a_node_does_not_outlive_the_program_that_started_it(tmp_path: Path, plain: CassandraCluster) -> None:
    root = tmp_path / "node"
    program = (
        "import sys, pathlib; from scripts.run_cassandra import CassandraCluster;"
        "CassandraCluster(pathlib.Path(sys.argv[1])).start(); print('started', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        cluster = CassandraCluster.at(root)
        assert cluster is not None
        assert cluster.is_running
        os.kill(owner.pid, signal.SIGKILL)
    assert until(lambda: not cluster.is_running, deadline_s=30)
    assert plain.is_running  # and only that one ended
