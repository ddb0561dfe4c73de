"""Who acts: a user's process on a host. A name that can be read, and marks by which the process can be proved gone."""

from __future__ import annotations

import getpass
import os
import re
import socket
import uuid
from hashlib import blake2s
from pathlib import Path

_PROC = Path("/proc")
#: ``user@host:process/marks-run``. The marks are the place and the start of ``_life``; they may be missing.
_NAMED = re.compile(r"(?P<shown>.*@(?P<host>[^:]*):(?P<process>\d+))(/((?P<place>[0-9a-f]{8})-(?P<start>\d+)-)?.*)?")


def whoami() -> str:
    """Who acts, for the record: user, host and process."""
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


def new_run() -> str:
    """Who acts, in which run, and how to prove that this process has ended: two runs of one process differ."""
    place, start = _place(), _start(os.getpid())
    marks = f"{place}-{start}-" if place and start else ""
    return f"{whoami()}/{marks}{uuid.uuid4().hex[:6]}"


def shown(actor: str) -> str:
    """The name of an actor for people: without the marks of its process and the number of its run."""
    found = _NAMED.fullmatch(actor)
    return found["shown"] if found else actor


def is_dead(actor: str) -> bool:
    """Whether the process of a run has ended, as far as this process can prove it.

    A process number proves nothing by itself: another container may have the same host name, and a number is used
    again. So the machine's boot and the namespace of process numbers must be ours, and the process must be gone or
    have begun at another time. Without that proof the answer is False, and a lease runs out by itself.
    """
    found = _NAMED.fullmatch(actor)
    if not found or not found["place"] or found["place"] != _place() or found["host"] != socket.gethostname():
        return False
    # Empty if there is no such process any more; another start, if its number was given to another one.
    return _start(int(found["process"])) != found["start"]


def _place() -> str:
    """Where process numbers mean the same as here: this boot of the machine, and this namespace. Empty: unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return blake2s(f"{boot} {namespace}".encode(), digest_size=4).hexdigest()


def _start(process: int) -> str:
    """When a process began, in the kernel's ticks since the boot; empty if it has ended or this is unknown."""
    try:
        stat = (_PROC / str(process) / "stat").read_text()
    except OSError:
        return ""
    state, *more = stat.rpartition(")")[2].split()
    # A killed process is still listed until its parent has waited for it.
    return "" if state in "ZX" else more[18]
