"""A small disk in memory, for a node that is to run out of room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEGABYTES = 384


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A tmpfs mounted at a folder; None where neither root nor sudo without a password may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _run("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=1777", "tmpfs", str(folder)):
        yield None
        return
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*words: str) -> bool:
    command = words if os.geteuid() == 0 else ("sudo", "-n", *words)
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    return False


class Ballast:
    """A file that leaves no room on a disk."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "ballast"

    def fill(self) -> None:
        """Write until the disk is full."""
        block = bytes(2**20)
        with suppress(OSError), self._file.open("wb", buffering=0) as file:
            for _ in range(2 * MEGABYTES):
                # A disk with less than a block left takes a part of it, and then nothing.
                file.write(block)

    def remove(self) -> None:
        """Give the room back."""
        self._file.unlink(missing_ok=True)
