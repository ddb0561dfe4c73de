"""What a cluster is made of, and the file in its folder that remembers it and its processes."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from scripts.cassandra_node.processes import ProcessRecord

#: What a node is run for. One that is measured compiles and writes as a real one does. One that is kept starts sooner,
#: and leaves it to the system when files reach the disk: it survives a kill, and not a power cut. One that is used once
#: keeps its schema in memory only, which makes tables quicker, and cannot be started again.
Use = Literal["measured", "kept", "once"]
NODES_MAX = 3  # the certificates name 127.0.0.1 to 127.0.0.3, and this machine's memory ends there too


@dataclass(frozen=True)
class ClusterSpec:
    """What does not change while a cluster lives.

    Args:
        nodes: how many; node ``i`` listens at ``127.0.0.(i + 1)``.
        port: the port for CQL, the same at every node.
        storage_port: the port on which nodes talk to each other, the same at every node.
        tls: CQL only over TLS, and only for clients with a certificate.
        auth: CQL only with a login; the first superuser is cassandra/cassandra.
        heap: of each node, as the JVM reads it, such as ``640M``.
        use: what it is run for.
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
    """A cluster as its folder remembers it: its spec, and by host the process last started."""

    spec: ClusterSpec
    processes: Mapping[str, ProcessRecord]


def load(root: Path) -> Recorded | None:
    """What ``root`` remembers, or None where no cluster was ever started."""
    file = _file(root)
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    processes = {host: ProcessRecord(**record) for host, record in content["processes"].items()}
    return Recorded(ClusterSpec(**content["spec"]), processes)


def save(root: Path, recorded: Recorded) -> None:
    """Remember; a reader sees the old file or the new one, never a half."""
    processes = {host: asdict(record) for host, record in recorded.processes.items()}
    written = _file(root).with_suffix(".new")
    written.write_text(json.dumps({"spec": asdict(recorded.spec), "processes": processes}, indent=2) + "\n")
    written.replace(_file(root))


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the cluster's folder alone: two programs must not start or stop the same nodes at once."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _file(root: Path) -> Path:
    return root / "cluster.json"
