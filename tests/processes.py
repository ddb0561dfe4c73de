"""Processes of this machine, as /proc tells them: which ones a test has started, and whether they are gone."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path


def parents() -> dict[int, int]:
    """Every living process and its parent; those that have ended and were not fetched yet are left out."""
    found: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    found[int(folder.name)] = int(parent)
    return found


def descendants(process: int) -> set[int]:
    """The children of a process, their children, and so on."""
    known, found = parents(), set[int]()
    waiting = [process]
    while waiting:
        parent = waiting.pop()
        below = [child for child, its_parent in known.items() if its_parent == parent and child not in found]
        found.update(below)
        waiting += below
    return found


def alive(processes: set[int]) -> set[int]:
    return processes & parents().keys()


def command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def peak_mb(process: int | None = None) -> float:
    """The most memory that a process, by default this one, has held since it began; NaN where it is gone.

    ``resource.getrusage`` would not do: its peak counts what the parent held when it started this process.
    """
    try:
        status = Path(f"/proc/{process or os.getpid()}/status").read_text()
    except OSError:
        return float("nan")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)  # a process that has ended and was not fetched yet has none
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def spark_workers() -> set[int]:
    """The Python workers of this process's Spark session that run tasks, without the daemons that fork them."""
    below, known = descendants(os.getpid()), parents()
    daemons = {each for each in below if "-m embedshift.spark.worker" in command(each)}
    return {each for each in below if known.get(each) in daemons}


def kill(process: int) -> None:
    """SIGKILL, to one process that a test has started."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
