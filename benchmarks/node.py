"""A Cassandra node for the measures that need one; the run starts it once for all of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.pairs import LeftOut
from scripts.run_cassandra import CassandraCluster, CassandraFailed, CassandraUnavailable

#: The folder of the node that is already running.
NODE = "EMBEDSHIFT_BENCHMARK_NODE"
#: Why none is running, if that is already known.
NONE = "EMBEDSHIFT_BENCHMARK_NO_NODE"


@contextmanager
def node() -> Iterator[CassandraCluster]:
    """The node that is already running, or one that is started for the block.

    Raises:
        LeftOut: this machine cannot run one; the error says why.
    """
    if reason := os.environ.get(NONE):
        raise LeftOut(reason)
    if folder := os.environ.get(NODE):
        known = CassandraCluster.at(Path(folder))
        if known is None or not known.is_running:
            raise LeftOut("the Cassandra node has ended")
        yield known
        return
    with tempfile.TemporaryDirectory() as made:
        cluster = CassandraCluster(Path(made), use="measured")
        try:
            cluster.start()
        except (CassandraUnavailable, CassandraFailed) as error:
            raise LeftOut(f"no Cassandra: {error}") from error
        try:
            yield cluster
        finally:
            cluster.stop()


def processor_s(cluster: CassandraCluster) -> float:
    """Seconds of processor time that the node's process has used."""
    fields = Path(f"/proc/{cluster.nodes[0].pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def shared_node(wanted: bool) -> Iterator[dict[str, str]]:
    """What tells the measures' processes of the node, in their environment; it is stopped at the end of the block."""
    if not wanted:
        yield {}
        return
    try:
        with node() as running:
            yield {NODE: str(running.root)}
    except LeftOut as reason:
        yield {NONE: str(reason)}
