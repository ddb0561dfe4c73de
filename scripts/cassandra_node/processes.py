"""Processes that are identified by more than their number, because numbers are used again.

A process is identified by its number, by the kernel tick at which it started, and by a marker in its command line.
Signals go through a file descriptor of the process (pidfd) that is opened before the check, so that the number cannot
belong to another process between the check and the signal.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Life(Enum):
    """The state of a process."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    GONE = "gone"


@dataclass(frozen=True)
class ProcessRecord:
    """A process as it was when we started it.

    Args:
        pid: its number.
        start_ticks: when it started, in kernel ticks since the machine started.
        marker: an argument of its command line that no other process has.
    """

    pid: int
    start_ticks: int
    marker: str

    @classmethod
    def of(cls, pid: int, marker: str) -> ProcessRecord:
        """Record a process of ours that was just started (and not yet waited for)."""
        return cls(pid, _stat(pid)[1], marker)

    def life(self) -> Life:
        """Running, suspended, or gone; a zombie, or another process with the same number, counts as gone."""
        try:
            state, start_ticks = _stat(self.pid)
            line = command_line(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return Life.GONE
        if state in "ZX" or start_ticks != self.start_ticks:
            return Life.GONE
        # A process that is just starting has no command line for a moment, which is long on a busy machine.
        if line and self.marker.encode() not in line.split(b"\0"):
            return Life.GONE
        return Life.SUSPENDED if state in "Tt" else Life.RUNNING

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; returns False, without sending anything, if the process has ended."""
        with self._handle() as handle:
            return handle is not None and _send(handle, number)

    def end(self, deadline_s: float) -> None:
        """Ask the process to end (TERM), and kill it after the deadline (KILL); returns when it has ended."""
        with self._handle() as handle:
            if handle is None:
                return
            _send(handle, signal.SIGTERM)
            _send(handle, signal.SIGCONT)  # a suspended process does not hear TERM
            if not _ended(handle, deadline_s):
                _send(handle, signal.SIGKILL)
                _ended(handle, deadline_s)

    def kill(self, deadline_s: float) -> None:
        """Kill the process at once (KILL); returns when it has ended."""
        with self._handle() as handle:
            if handle is not None:
                _send(handle, signal.SIGKILL)
                _ended(handle, deadline_s)

    @contextmanager
    def _handle(self) -> Iterator[int | None]:
        """A pidfd of this very process; None if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield None if self.life() is Life.GONE else handle
        finally:
            os.close(handle)


def _send(handle: int, number: signal.Signals) -> bool:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False  # it ended between the check and the signal
    return True


def _ended(handle: int, deadline_s: float) -> bool:
    """Wait until the process of this pidfd has ended; returns whether it ended in time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(deadline_s * 1000))


def command_line(pid: int) -> bytes:
    """The arguments, each ended by a zero; empty while the process is replaced by another program (exec)."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start tick; the program's name is in brackets and may contain anything, so cut after it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])
