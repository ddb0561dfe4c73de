"""The properties of a cluster, and the file in its folder that records them and its processes."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from scripts.cassandra_node.processes import ProcessRecord

#: What a node is used for. One that is measured compiles and writes as a real one does. One that is kept starts sooner,
#: and lets the system decide when files reach the disk: it survives a kill, but not a power cut. One that is used once
#: keeps its schema only in memory, which makes creating tables quicker, and cannot be started again.
Use = Literal["measured", "kept", "once"]
NODES_MAX = 3  # the certificates name 127.0.0.1 to 127.0.0.3, and this machine's memory ends there too


@dataclass(frozen=True)
class ClusterSpec:
    """The properties that do not change while a cluster exists.

    Args:
        nodes: how many; node ``i`` listens at ``127.0.0.(i + 1)``.
        port: the port for CQL, the same at every node.
        storage_port: the port on which nodes talk to each other, the same at every node.
        tls: CQL only over TLS, and only for clients with a certificate.
        auth: CQL only with a login; the first superuser is cassandra/cassandra.
        heap: of each node, as the JVM reads it, such as ``640M``.
        use: what it is used for.
    """

    nodes: int
    port: int
    storage_port: int
    tls: bool
    auth: bool
    heap: str
    use: Use = "kept"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The nodes' addresses."""
        return tuple(f"127.0.0.{number + 1}" for number in range(self.nodes))


@dataclass(frozen=True)
class Recorded:
    """A cluster as its folder records it: its spec, and for each host the process that was started last."""

    spec: ClusterSpec
    processes: Mapping[str, ProcessRecord]


def load(root: Path) -> Recorded | None:
    """What ``root`` records; None if no cluster was ever started there."""
    file = _file(root)
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    processes = {host: ProcessRecord(**record) for host, record in content["processes"].items()}
    return Recorded(ClusterSpec(**content["spec"]), processes)


def save(root: Path, recorded: Recorded) -> None:
    """Record it; a reader sees the old file or the new one, never a part."""
    processes = {host: asdict(record) for host, record in recorded.processes.items()}
    written = _file(root).with_suffix(".new")
    written.write_text(json.dumps({"spec": asdict(recorded.spec), "processes": processes}, indent=2) + "\n")
    written.replace(_file(root))


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Lock the cluster's folder: two programs must not start or stop the same nodes at once."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _file(root: Path) -> Path:
    return root / "cluster.json"
