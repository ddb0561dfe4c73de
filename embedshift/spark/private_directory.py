"""A directory of this run alone: sockets and temporary files that no other user reaches, and that nobody has to clear.

Whoever can reach the socket of Spark's Python daemon can have it run any code as this user.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, _LOCK = "embedshift-run-", "lock"
#: The maximum bytes of a Unix socket's path on Linux with its end (unix(7)), and of the name that PySpark gives it.
_PATH_MOST, _SOCKET_NAME = 107, len("/.00000000-0000-0000-0000-000000000000.sock")


@contextmanager
def private_directory(base: Path | None = None) -> Iterator[Path]:
    """A new directory that only this user can enter, whatever the umask; it is removed at the end of the block.

    A lock on a file in it is held while this process lives, or a child that was forked from it. Directories of runs
    that were killed are removed first: those whose lock nobody holds.

    Args:
        base: where it is made; None: in the system's directory for temporary files.
    """
    base = base or _base()
    _sweep(base)
    path, lock = _made(base)
    process = os.getpid()
    try:
        yield path
    finally:
        if os.getpid() == process:  # a forked child leaves it to its parent
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _base() -> Path:
    """The system's directory for temporary files; Spark takes a comma in its name for the end of it."""
    base = Path(tempfile.gettempdir())
    return Path("/tmp") if "," in str(base) else base


def is_private(path: Path) -> bool:
    """Whether a path is a directory of this user's which nobody else can enter."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def fits_sockets(path: Path) -> bool:
    """Whether PySpark's sockets can lie in a directory: their paths have a maximum length."""
    return len(os.fsencode(path)) + _SOCKET_NAME <= _PATH_MOST


def _made(base: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        # Until it is locked, another start may take it for a dead run's: then another one is made.
        with suppress(FileNotFoundError):
            path.chmod(0o700)
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if _locked(lock) and os.fstat(lock).st_nlink:
                os.fchmod(lock, 0o600)
                return path, lock
            os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(base: Path) -> None:
    for path in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if path.is_symlink() or path.lstat().st_uid != os.getuid():
                continue
            # One without a lock was left between two steps of its making or of its removal.
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o600)
            try:
                if _locked(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
