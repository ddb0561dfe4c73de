"""Start, stop and check an Apache Cassandra on this machine: one to three nodes.

    python scripts/run_cassandra.py start [--nodes N] [--dir DIR] [--port 9042] [--tls] [--auth] [--heap 1G]
    python scripts/run_cassandra.py stop [--dir DIR]
    python scripts/run_cassandra.py status [--dir DIR]

It needs Java 17, and Maven for the first start, which fetches Cassandra's jars into ``$EMBEDSHIFT_CACHE`` (or
``~/.cache/embedshift``). Tests import it from here: ``from scripts.run_cassandra import CassandraCluster``.

Exit codes: 0 done, 1 failed or not running, 3 this machine cannot run it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # Python puts this file's folder on the path, but imports are named from the root.
    sys.path[0] = str(_REPOSITORY)

from scripts.cassandra_node import (  # noqa: E402 - the path must be right first
    VERSION,
    CassandraCluster,
    CassandraFailed,
    CassandraNode,
    CassandraUnavailable,
    TlsFiles,
)

__all__ = ["CassandraCluster", "CassandraFailed", "CassandraNode", "CassandraUnavailable", "TlsFiles", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    commands = {"start": _start, "stop": _stop, "status": _status}
    try:
        return commands[options.command](options)
    except CassandraUnavailable as error:
        print(f"Cassandra cannot run here: {error.reason}", file=sys.stderr)
        return 3
    except CassandraFailed as error:
        print(f"Cassandra failed: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cassandra.py", description="Run Apache Cassandra on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start nodes that keep running, and wait until they answer")
    start.add_argument("--nodes", type=int, default=1, choices=(1, 2, 3), help="how many (default: 1)")
    start.add_argument("--port", type=int, default=9042, help="the CQL port of every node (default: 9042)")
    start.add_argument("--tls", action="store_true", help="CQL over TLS, for clients with a certificate")
    start.add_argument("--auth", action="store_true", help="CQL with a login, initially cassandra/cassandra")
    start.add_argument("--heap", help="of each node (default: 1G for one node, 640M for each of several)")
    stop = commands.add_parser("stop", help="stop the nodes; their data stays")
    status = commands.add_parser("status", help="print which nodes run and answer")
    for command in (start, stop, status):
        command.add_argument("--dir", type=Path, default=_REPOSITORY / ".cassandra", help="where all files are kept")
    return parser


def _start(options: argparse.Namespace) -> int:
    running = CassandraCluster.at(options.dir)
    if running and running.is_running:
        print(f"Already running: {_where(running)}")
        return 0
    cluster = CassandraCluster(
        options.dir, options.nodes, options.port, options.tls, options.auth, options.heap, detached=True
    )
    cluster.start()
    print(f"Running: {_where(cluster)}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    cluster = CassandraCluster.at(options.dir)
    if cluster is None or not cluster.is_running:
        print("Nothing is running.")
        return 0
    cluster.stop()
    print("Stopped.")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = CassandraCluster.at(options.dir)
    if cluster is None or not cluster.is_running:
        print("Nothing is running.")
        return 1
    print(_where(cluster))
    answers = [node.probe(None).answers() for node in cluster.nodes]
    for node, answer in zip(cluster.nodes, answers, strict=True):
        says = "answers" if answer else "does not answer"
        print(f"  {node.host}: process {node.pid or 'none'} {node.life.value}, {says}; log {node.log}")
    return 0 if all(answers) else 1


def _where(cluster: CassandraCluster) -> str:
    """One line with everything that a client needs."""
    parts = [
        f"Cassandra {VERSION}",
        f"hosts {','.join(cluster.hosts)}",
        f"port {cluster.port}",
        f"datacenter {cluster.datacenter}",
    ]
    if cluster.spec.auth:
        parts.append("login as cassandra (initial password: cassandra)")
    if cluster.spec.tls:
        files = cluster.tls_files
        parts.append(f"TLS with ca {files.ca}, certificate {files.client_cert}, key {files.client_key}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
