"""A cluster of one to three nodes on the loopback addresses of this machine."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.cassandra_node import server
from scripts.cassandra_node.errors import CassandraFailed, CassandraUnavailable
from scripts.cassandra_node.jars import jar_folder
from scripts.cassandra_node.node import CassandraNode
from scripts.cassandra_node.probe import ALL, NotReady, Probe
from scripts.cassandra_node.processes import Life, ProcessRecord
from scripts.cassandra_node.spec import NODES_MAX, ClusterSpec, Recorded, Use, load, locked, save
from scripts.cassandra_node.tls import TlsFiles, tls_files
from scripts.cassandra_node.waiting import free_port, is_free, until

# A node that knows a neighbour may not yet have recorded it, and one that has may not have seen it alive yet: query the
# first, and make a read need the second.
_PEERS = "SELECT COUNT(tokens) FROM system.peers_v2"
_READ_OF_ALL = "SELECT COUNT(*) FROM system_distributed.parent_repair_history"


class CassandraCluster:
    """A real Cassandra with all its files in one folder; a context manager that starts and stops it.

    Args:
        root: the folder; it may contain a stopped cluster, whose data is then there again.
        nodes: 1 to 3, at 127.0.0.1 and the two addresses after it.
        port: for CQL, the same at every node; None takes a free one.
        tls: CQL only over TLS, and only for clients with a certificate (see `tls_files`).
        auth: CQL only with a login, initially cassandra/cassandra.
        heap: of each node; by default 1G for one node and 640M for each of several.
        data_dirs: by a node's number: another folder for its tables, such as a small tmpfs.
        settings: keys of cassandra.yaml to set; None removes a key.
        use: what the cluster is used for (see `spec.Use`).
        detached: the nodes outlive this Python process; otherwise they end with it, however it ends.
        start_deadline_s: how long a start or a restart may take.
    """

    datacenter = server.DATACENTER

    def __init__(
        self,
        root: Path,
        nodes: int = 1,
        port: int | None = None,
        tls: bool = False,
        auth: bool = False,
        heap: str | None = None,
        *,
        data_dirs: Mapping[int, Path] | None = None,
        settings: Mapping[str, object] | None = None,
        use: Use = "kept",
        detached: bool = False,
        start_deadline_s: float = 180.0,
    ) -> None:
        self.root = root.resolve()
        recorded = load(self.root)
        self.spec = _spec(recorded, nodes, port, tls, auth, heap or ("1G" if nodes == 1 else "640M"), use)
        self.credentials: tuple[str, str] | None = ("cassandra", "cassandra") if auth else None
        self._start_deadline_s = start_deadline_s
        self._saving = threading.Lock()  # nodes may be restarted from several threads
        processes: Mapping[str, ProcessRecord] = recorded.processes if recorded else {}
        self._nodes = [
            CassandraNode(
                self.spec,
                number,
                self.root / host,
                data_dir=(data_dirs or {}).get(number),
                tls=self._tls,
                settings=settings or {},
                watched=not detached,
                start_deadline_s=start_deadline_s,
                record=processes.get(host),
                on_start=self._save,
            )
            for number, host in enumerate(self.spec.hosts)
        ]

    @classmethod
    def at(cls, root: Path) -> CassandraCluster | None:
        """The cluster that ``root`` records, running or not, or None: to stop or check one that is detached."""
        recorded = load(root.resolve())
        if recorded is None:
            return None
        spec = recorded.spec
        return cls(root, spec.nodes, spec.port, spec.tls, spec.auth, spec.heap, use=spec.use, detached=True)

    @property
    def hosts(self) -> list[str]:
        """The nodes' addresses, in the driver's form."""
        return list(self.spec.hosts)

    @property
    def port(self) -> int:
        """The CQL port of every node."""
        return self.spec.port

    @property
    def nodes(self) -> list[CassandraNode]:
        """All nodes, in the order of `hosts`."""
        return list(self._nodes)

    def node(self, number: int) -> CassandraNode:
        """The node at ``hosts[number]``."""
        return self._nodes[number]

    @property
    def tls_files(self) -> TlsFiles:
        """The certificates; made at first use.

        Raises:
            CassandraFailed: the cluster has no TLS.
        """
        files = self._tls()
        if files is None:
            raise CassandraFailed("this cluster has no TLS, so it has no certificates")
        return files

    @property
    def is_running(self) -> bool:
        """Whether any of its processes is running, whether it answers or not."""
        return any(node.life is not Life.GONE for node in self._nodes)

    def start(self) -> None:
        """Start all nodes at once and wait until they answer and know each other.

        Raises:
            CassandraUnavailable: this machine lacks what is needed.
            CassandraFailed: it runs already, a port is taken, or a node did not come up in time.
        """
        _require_linux()
        server.java()
        jar_folder()
        with locked(self.root):
            self._refuse_what_cannot_start()
            try:
                for node in self._nodes:
                    node.spawn()
                for node in self._nodes:
                    node.wait_until_it_answers()
                self.wait_until_joined()
            except BaseException:  # an interrupt as well: leave no process behind
                self._stop_nodes()
                raise

    def stop(self) -> None:
        """Stop all nodes; returns when no process is left. May be repeated."""
        with locked(self.root):
            self._stop_nodes()

    def wait_until_joined(self) -> None:
        """Wait until every node sees all others alive; call it after a restart before all nodes are needed.

        Raises:
            CassandraFailed: that did not happen in time.
        """
        for node in self._nodes:
            probe = node.probe(self.credentials)
            if not until(partial(self._knows_all, probe), self._start_deadline_s):
                lacks = self._lacks(probe)
                raise CassandraFailed(f"the node at {node.host} did not join the others: {lacks}: see {node.log}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tls(self) -> TlsFiles | None:
        self.root.mkdir(parents=True, exist_ok=True)
        return tls_files(self.root / "tls") if self.spec.tls else None

    def _save(self) -> None:
        with self._saving:
            processes = {node.host: node.record for node in self._nodes if node.record is not None}
            save(self.root, Recorded(self.spec, processes))

    def _knows_all(self, probe: Probe) -> bool:
        return not self._lacks(probe)

    def _lacks(self, probe: Probe) -> str:
        """What a node still lacks to be one with the others; empty if nothing."""
        try:
            known = probe.count(_PEERS)
            probe.count(_READ_OF_ALL, ALL)
        except NotReady as error:
            return str(error)
        others = len(self._nodes) - 1
        return "" if known == others else f"it knows {known} of {others} others"

    def _refuse_what_cannot_start(self) -> None:
        recorded = load(self.root)
        if recorded and any(process.life() is not Life.GONE for process in recorded.processes.values()):
            raise CassandraFailed(f"a cluster runs already in {self.root}: stop it first")
        for port in (self.spec.port, self.spec.storage_port):
            if not is_free(port, self.spec.hosts):
                raise CassandraFailed(f"port {port} is taken at one of {', '.join(self.spec.hosts)}: choose another")

    def _stop_nodes(self) -> None:
        if self.spec.use == "once":  # nobody reads what it would still write
            for node in self._nodes:
                node.kill()
            return
        for node in self._nodes:
            node.ask_to_stop()  # all of them first, so that they end at the same time
        for node in self._nodes:
            node.stop()


def _spec(
    recorded: Recorded | None, nodes: int, port: int | None, tls: bool, auth: bool, heap: str, use: Use
) -> ClusterSpec:
    """Fill in the ports; a folder with a cluster keeps its storage port, by which its nodes know each other."""
    if not 1 <= nodes <= NODES_MAX:
        raise CassandraFailed(f"a cluster has 1 to {NODES_MAX} nodes, not {nodes}")
    if recorded and recorded.spec.nodes != nodes:
        raise CassandraFailed(f"this folder holds a cluster of {recorded.spec.nodes} nodes: take another for {nodes}")
    hosts = tuple(f"127.0.0.{number + 1}" for number in range(nodes))
    storage_port = recorded.spec.storage_port if recorded else free_port(hosts, besides=port)
    return ClusterSpec(nodes, port or free_port(hosts, besides=storage_port), storage_port, tls, auth, heap, use)


def _require_linux() -> None:
    if platform.system() != "Linux":
        raise CassandraUnavailable("this runner needs Linux: its loopback addresses, /proc and pidfds")
