"""actor."""

from __future__ import annotations

import getpass
import os
import re
import socket
import uuid
from pathlib import Path


def whoami() -> str:
    """Who acts, for the record: user, host and process."""
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


def new_run() -> str:
    """Who acts, and in which run: two runs of one process differ."""
    return f"{whoami()}/{uuid.uuid4().hex[:6]}"


def is_dead(actor: str) -> bool:
    """Whether ``whoami`` named a process of this machine that has ended; False if that cannot be known."""
    found = re.match(r".*@(?P<host>[^:]*):(?P<process>\d+)", actor)
    if not found or found["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    # A killed process is still listed until its parent has waited for it.
    status = Path("/proc", found["process"], "stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"
