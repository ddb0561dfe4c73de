"""What goes wrong: each fault strikes once, in the middle of a step, and is repaired. The soak uses the same ones."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cassandra import ConsistencyLevel, WriteTimeout
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy

from embedshift.errors import EmbedshiftError
from embedshift.tokens import WHOLE_RING
from scripts.cassandra_node.processes import Life
from scripts.run_cassandra import CassandraCluster
from tests.processes import alive, command, descendants, kill, spark_workers
from tests.reliability.disks import Ballast
from tests.world import DEADLINE_S, World, eventually, now_us


class Fault(ABC):
    """Something that goes wrong. ``own_process`` says that the step runs as the real command line."""

    name = ""
    own_process = False

    @abstractmethod
    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        """Let it go wrong."""

    def repair(self) -> None:  # noqa: B027 - most faults hit the step alone
        """Put it right again, as an operator or a supervisor does; nothing where only the step was hit."""

    def undo(self) -> None:
        """Put right whatever is left of it, however far it came."""
        self.repair()


class DriverKilled(Fault):
    """SIGKILL of the command itself."""

    name = "the command killed"
    own_process = True

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        assert process is not None
        kill(process.pid)


class JvmKilled(Fault):
    """SIGKILL of Spark's JVM, which with a local master is driver and executor in one."""

    name = "Spark's JVM killed"
    own_process = True

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        assert process is not None
        (jvm,) = [each for each in descendants(process.pid) if "org.apache.spark.deploy.SparkSubmit" in command(each)]
        kill(jvm)


class WorkerKilled(Fault):
    """SIGKILL of a Python worker that runs tasks."""

    name = "a Python worker killed"

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        kill(min(eventually(spark_workers)))


class NodeKilled(Fault):
    """SIGKILL of one node, which is started again."""

    name = "a node killed"

    def __init__(self, cluster: CassandraCluster, number: int = 1, down_s: float = 5) -> None:
        self._cluster, self._number, self._down_s = cluster, number, down_s

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        self._cluster.node(self._number).kill()

    def repair(self) -> None:
        time.sleep(self._down_s)  # how long it is gone is part of the fault
        self.undo()

    def undo(self) -> None:
        if self._cluster.node(self._number).life is Life.GONE:
            self._cluster.node(self._number).restart()
        self._cluster.wait_until_joined()


class CoordinatorKilled(NodeKilled):
    """SIGKILL of the node that serves the most requests of this moment as their coordinator.

    With three replicas of three every node can coordinate every request, and drivers spread them; so the nodes are
    asked how many requests of clients they have taken, twice, and the one with the greatest growth is killed.
    """

    name = "the busiest coordinator killed"

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        before = self._requests()
        time.sleep(0.5)  # a rate needs two looks
        after = self._requests()
        self._number = max(range(len(before)), key=lambda number: after[number] - before[number])
        super().strike(world, process)

    def _requests(self) -> list[int]:
        return [self._taken(host) for host in self._cluster.hosts]

    def _taken(self, host: str) -> int:
        with only(self._cluster, host) as session:
            rows = session.execute("SELECT request_count FROM system_views.clients")
            return sum(row.request_count for row in rows)


class NodePaused(Fault):
    """SIGSTOP of a node for longer than a request may take, then SIGCONT: its connections stay open all the time."""

    name = "a node paused past the request timeout"

    def __init__(self, cluster: CassandraCluster, number: int = 1, pause_s: float = 9) -> None:
        self._node, self._pause_s = cluster.node(number), pause_s

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        assert self._pause_s > world.settings.store.request_timeout.total_seconds()
        self._node.suspend()

    def repair(self) -> None:
        time.sleep(self._pause_s)  # how long it is silent is the fault
        self.undo()

    def undo(self) -> None:
        if self._node.life is Life.SUSPENDED:
            self._node.resume()


class WriteTimedOut(Fault):
    """Two of three replicas pause: the third takes every write, and the client is told that it timed out.

    One write of its own shows it: the coordinator answers WriteTimeout, and the row is there all the same.
    """

    name = "writes timed out but applied"
    pauses_s = 4.0

    def __init__(self, cluster: CassandraCluster) -> None:
        self._cluster = cluster
        self._asleep = [cluster.node(1), cluster.node(2)]
        self._table = ""
        #: The row whose write timed out, and what it must hold.
        self.id, self.values = "", ("", "")

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        self.id, self.values = f"d{now_us()}", ("A doubtful", "new application")
        self._table = f"{world.settings.store.keyspace}.{world.settings.source.table}"
        with only(self._cluster, self._cluster.hosts[0]) as session:
            insert = session.prepare(
                f"INSERT INTO {self._table} (id, title, content) VALUES (?, ?, ?) USING TIMESTAMP ?"
            )
            for node in self._asleep:
                node.suspend()
            assert _timed_out(session, insert, (self.id, *self.values, now_us())).received_responses <= 1
        time.sleep(self.pauses_s)  # meanwhile the step's own writes time out too

    def repair(self) -> None:
        self.undo()
        query = f"SELECT title, content FROM {self._table} WHERE id = %s"

        def applied() -> bool:
            with only(self._cluster, self._cluster.hosts[0], ConsistencyLevel.ALL) as session:
                row = session.execute(query, (self.id,)).one()
            return row is not None and (row.title, row.content) == self.values

        eventually(lambda: _tried(applied), deadline_s=120, every_s=0.5)

    def undo(self) -> None:
        for node in self._asleep:
            if node.life is Life.SUSPENDED:
                node.resume()


class DiskFull(Fault):
    """No room on one node's disk. The node stops serving at its next flush; with room again it is started again."""

    name = "a node's disk full"

    def __init__(self, cluster: CassandraCluster, number: int, disk: Path) -> None:
        self._cluster, self._node, self._ballast = cluster, cluster.node(number), Ballast(disk)

    def strike(self, world: World, process: subprocess.Popen[str] | None) -> None:
        self._ballast.fill()
        # The table's memory goes to the disk every second, not only when there is too much of it.
        target = f"{world.settings.store.keyspace}.{world.settings.target.table}"
        with only(self._cluster, self._cluster.hosts[0]) as session:
            session.execute(f"ALTER TABLE {target} WITH memtable_flush_period_in_ms = 1000")

    def repair(self) -> None:
        probe = self._node.probe(None)
        eventually(lambda: not probe.answers(), deadline_s=120, every_s=0.5)
        self.undo()

    def undo(self) -> None:
        self._ballast.remove()
        if not self._node.probe(None).answers():
            self._node.restart()
        self._cluster.wait_until_joined()


class only:
    """A session with one node of a cluster, which coordinates each of its requests; closed at the end."""

    def __init__(self, cluster: CassandraCluster, host: str, level: int = ConsistencyLevel.QUORUM) -> None:
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([host]),
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=level,
            request_timeout=20,
        )
        profiles = {EXEC_PROFILE_DEFAULT: profile}
        self._cluster = Cluster([host], port=cluster.port, execution_profiles=profiles, protocol_version=4)

    def __enter__(self) -> Session:
        return self._cluster.connect()

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()


def _timed_out(session: Session, insert: Any, values: tuple[Any, ...]) -> WriteTimeout:
    try:
        session.execute(insert, values)
    except WriteTimeout as error:
        return error
    raise AssertionError("two of three replicas were paused, and the write was acknowledged")


def _tried(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except Exception:  # noqa: BLE001 - nodes that come back refuse in many ways; the deadline is around it
        return False


def begun(world: World, step: str) -> bool:
    """Whether a step is in the middle of its work."""
    if step == "load":
        table = world.store.describe(world.settings.target.table)
        return any(batch.num_rows for batch in world.store.scan(table, WHOLE_RING))
    if step == "cutover":
        return world.alias.target.table == world.settings.target.table
    if step == "rollback":
        return world.migration.state == "rolling_back"
    return world.migration.facts.sync_pass_open


def strike_during(world: World, step: str, fault: Fault, repaired: Callable[[], None] = lambda: None) -> None:
    """Run a step, let a fault strike in the middle of it, repair it, and run the step again if it did not end well.

    Args:
        repaired: called once the fault is repaired, from any thread: a step such as sync ends only when the application
            that writes meanwhile leaves off.
    """
    try:
        ended_well = (
            _strike_process(world, step, fault) if fault.own_process else _strike_beside(world, step, fault, repaired)
        )
    finally:
        fault.undo()
        repaired()
    if not ended_well:
        world.step(step)


def _strike_process(world: World, step: str, fault: Fault) -> bool:
    """The step in a process of its own, which must not survive the fault."""
    process = world.start(step)

    def far_enough() -> bool:
        assert process.poll() is None, process.communicate()
        return begun(world, step)

    try:
        eventually(far_enough, every_s=0.05)
        started = descendants(process.pid) | {process.pid}
        fault.strike(world, process)
        out, err = process.communicate(timeout=DEADLINE_S)
    except BaseException:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        raise
    assert process.returncode != 0, f"{step} ended before {fault.name}: {out}"
    assert "Traceback" not in err, err
    eventually(lambda: not alive(started))
    return False


def _strike_beside(world: World, step: str, fault: Fault, repaired: Callable[[], None]) -> bool:
    """The step in this thread, the fault in another. Returns whether the step ended well."""
    trouble: list[BaseException] = []
    ended = threading.Event()

    def fate() -> None:
        try:
            eventually(lambda: ended.is_set() or begun(world, step), every_s=0.05)
            assert not ended.is_set(), f"{step} ended before {fault.name}"
            fault.strike(world, None)
            fault.repair()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            trouble.append(error)
        finally:
            repaired()

    thread = threading.Thread(target=fate, name=fault.name)
    thread.start()
    ended_well = False
    try:
        world.step(step)
        ended_well = True
    except EmbedshiftError as error:
        print(f"{step} failed, {fault.name}: {error}")
    finally:
        ended.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive(), f"{fault.name} was not repaired in time"
    if trouble:
        raise trouble[0]
    return ended_well
