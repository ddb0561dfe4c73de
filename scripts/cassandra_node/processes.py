"""Processes told apart by more than their number: numbers are used again.

A process is known by its number, by the kernel tick at which it started, and by a marker in its command line.
Signals go through a file descriptor of the process (pidfd), opened before the check: between the check and the
signal the number cannot come to name another process.
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
    """How a process is doing."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    GONE = "gone"


@dataclass(frozen=True)
class ProcessRecord:
    """A process as it was when we started it.

    Args:
        pid: its number.
        start_ticks: when it started, in kernel ticks since the machine did.
        marker: an argument of its command line that no other process carries.
    """

    pid: int
    start_ticks: int
    marker: str

    @classmethod
    def of(cls, pid: int, marker: str) -> ProcessRecord:
        """Record a process of ours that has just been started (and not yet been waited for)."""
        return cls(pid, _stat(pid)[1], marker)

    def life(self) -> Life:
        """Running, suspended, or gone; a zombie, or another process under the same number, is gone."""
        try:
            state, start_ticks = _stat(self.pid)
            line = _command_line(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return Life.GONE
        if state in "ZX" or start_ticks != self.start_ticks:
            return Life.GONE
        # A process that is just being started has no command line for a moment, on a busy machine for a long one.
        if line and self.marker.encode() not in line.split(b"\0"):
            return Life.GONE
        return Life.SUSPENDED if state in "Tt" else Life.RUNNING

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; returns False, having sent nothing, when the process has gone."""
        with self._handle() as handle:
            return handle is not None and _send(handle, number)

    def end(self, deadline_s: float) -> None:
        """Ask the process to end (TERM), and after the deadline make it end (KILL); done when it has gone."""
        with self._handle() as handle:
            if handle is None:
                return
            _send(handle, signal.SIGTERM)
            _send(handle, signal.SIGCONT)  # a suspended process does not hear TERM
            if not _ended(handle, deadline_s):
                _send(handle, signal.SIGKILL)
                _ended(handle, deadline_s)

    def kill(self, deadline_s: float) -> None:
        """Make the process end at once (KILL); done when it has gone."""
        with self._handle() as handle:
            if handle is not None:
                _send(handle, signal.SIGKILL)
                _ended(handle, deadline_s)

    @contextmanager
    def _handle(self) -> Iterator[int | None]:
        """A pidfd of this very process, or None when it has gone."""
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
        return False  # it went between the look and the signal
    return True


def _ended(handle: int, deadline_s: float) -> bool:
    """Wait until the process of this pidfd has ended; returns whether it did in time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(deadline_s * 1000))


def _command_line(pid: int) -> bytes:
    """The arguments, each ended by a zero; empty while a program is being put in the place of another (exec)."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start tick; the program's name stands in brackets and may hold anything, so cut after it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])
