"""actor."""

from __future__ import annotations

import getpass
import os
import re
import socket
import uuid
from pathlib import Path


def whoami() -> str:
    """Who acts: user, host and process, for the record."""
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


def new_run() -> str:
    """Who acts, and which of its runs: two runs of one process are two."""
    return f"{whoami()}/{uuid.uuid4().hex[:6]}"


def is_dead(actor: str) -> bool:
    """Whether ``whoami`` named a process of this machine that is no more; False where it cannot be told."""
    found = re.match(r".*@(?P<host>[^:]*):(?P<process>\d+)", actor)
    if not found or found["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    # A killed process whose parent has not asked after it yet is still listed.
    status = Path("/proc", found["process"], "stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"
