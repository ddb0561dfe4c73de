"""One node: a process of Cassandra, and what a test does to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.cassandra_node import server
from scripts.cassandra_node.errors import CassandraFailed
from scripts.cassandra_node.jars import jar_folder
from scripts.cassandra_node.probe import Probe
from scripts.cassandra_node.processes import Life, ProcessRecord
from scripts.cassandra_node.spec import ClusterSpec
from scripts.cassandra_node.tls import TlsFiles
from scripts.cassandra_node.waiting import until

_WATCH = Path(__file__).with_name("watch.py")
_END_DEADLINE_S = 30.0
_HALT_DEADLINE_S = 5.0
_ERRORS_SHOWN_MAX = 3


class CassandraNode:
    """One node of a `CassandraCluster`, which creates it; tests get it from ``cluster.node(i)``.

    Attributes:
        host: its address.
        log: Cassandra's output, from all starts.
        data_dir: the folder of its tables.
        record: the process that was started last, or None.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        number: int,
        folder: Path,
        *,
        data_dir: Path | None,
        tls: Callable[[], TlsFiles | None],
        settings: Mapping[str, object],
        watched: bool,
        start_deadline_s: float,
        record: ProcessRecord | None,
        on_start: Callable[[], None],
    ) -> None:
        self.host = spec.hosts[number]
        self.log = folder / "cassandra.log"
        self.data_dir = data_dir or folder / "storage" / "data"
        self.record = record
        self._spec = spec
        self._number = number
        self._folder = folder
        self._tls = tls
        self._settings = settings
        self._watched = watched
        self._start_deadline_s = start_deadline_s
        self._on_start = on_start
        self._children: list[subprocess.Popen[bytes]] = []
        self._log_offset = 0

    @property
    def pid(self) -> int | None:
        """The number of the process, or None if none is running."""
        return self.record.pid if self.record and self.life is not Life.GONE else None

    @property
    def life(self) -> Life:
        """Whether the process is running, is suspended, or has ended."""
        return self.record.life() if self.record else Life.GONE

    def kill(self) -> None:
        """Kill the process at once (SIGKILL); returns when it has ended. May be repeated.

        With the commit log's default (periodic) the last writes may be lost. If none may be lost, give the cluster
        ``settings={"commitlog_sync": "batch", "commitlog_sync_period": None}``.
        """
        if self.record:
            self.record.kill(_END_DEADLINE_S)
        self._reap()

    def stop(self) -> None:
        """Ask the process to end, and kill it after a deadline; returns when it has ended. May be repeated."""
        if self.record:
            self.record.end(_END_DEADLINE_S)
        self._reap()

    def ask_to_stop(self) -> None:
        """Ask the process to end, and do not wait; a later `stop` waits."""
        if self.record:
            self.record.send(signal.SIGTERM)

    def suspend(self) -> None:
        """Suspend the process (SIGSTOP): its connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)
        until(lambda: self.life is not Life.RUNNING, _HALT_DEADLINE_S)

    def resume(self) -> None:
        """Let a suspended process continue (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop the process if it still runs, start one on the same data, and wait until it answers.

        Raises:
            CassandraFailed: it ended while starting, or did not answer in time.
        """
        self.stop()
        self.spawn()
        self.wait_until_it_answers()

    def spawn(self) -> None:
        """Start the process and do not wait for it."""
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        (self._folder / "tmp").mkdir(parents=True)
        server.write_yaml(self._spec, self._number, self._folder, self.data_dir, self._tls(), self._settings)
        with self.log.open("ab") as log:
            self._log_offset = log.tell()
            child = subprocess.Popen(
                server.command(self._spec, self._folder, jar_folder()),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is for the tests, which then stop the nodes
            )
        self._children = [child]
        self.record = ProcessRecord.of(child.pid, server.marker(self._folder))
        self._on_start()
        if self._watched:
            self._children.append(_watch(child.pid))

    def wait_until_it_answers(self) -> None:
        """Wait until the node speaks CQL.

        Raises:
            CassandraFailed: it ended while starting, or did not answer in time.
        """
        probe = self.probe(None)
        until(lambda: self.life is Life.GONE or probe.answers(), self._start_deadline_s)
        if self.life is Life.GONE:
            self._reap()
            raise CassandraFailed(f"the node at {self.host} ended while starting{self._errors()}")
        if not probe.answers():
            raise CassandraFailed(
                f"the node at {self.host} did not answer within {self._start_deadline_s:.0f} s{self._errors()}"
            )

    def probe(self, credentials: tuple[str, str] | None) -> Probe:
        """A probe for this node."""
        tls = self._tls()
        return Probe(self.host, self._spec.port, tls.client_context() if tls else None, credentials)

    def _signal(self, number: signal.Signals) -> None:
        if not (self.record and self.record.send(number)):
            raise CassandraFailed(f"the node at {self.host} does not run, so {number.name} cannot be sent to it")

    def _reap(self) -> None:
        """Wait for our own ended children, so that no zombie is left; the watching program ends with its node."""
        for child in self._children:
            child.wait(_END_DEADLINE_S)
        self._children = []

    def _errors(self) -> str:
        """The last errors in the log since the last start, and the log's path."""
        with self.log.open("rb") as log:
            log.seek(self._log_offset)
            lines = log.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(("ERROR", "Exception", "Error", "Invalid"))]
        return ": " + " | ".join([*errors[-_ERRORS_SHOWN_MAX:], f"see {self.log}"])


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """Start the program that ends node ``pid``, our child, when this Python process has ended."""
    descriptors = (os.pidfd_open(os.getpid()), os.pidfd_open(pid))
    try:
        return subprocess.Popen(
            [sys.executable, "-I", str(_WATCH), *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
