"""Spark's Python daemon, with the model loaded before it forks: workers share its memory and start at once.

Spark starts one daemon per executor and forks every Python worker from it. Importing torch takes seconds, and a large
model takes gigabytes; here that happens once per machine. Named by ``spark.python.daemon.module``.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import select
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

from pyspark import TaskContext, daemon

from embedshift.catalog.vector_table import ModelRecord
from embedshift.embedding import device_of, load_model, use_threads
from embedshift.errors import ModelUnavailable
from embedshift.spark.private_directory import PREFIX, fits_sockets, is_private, private_directory

#: Parameters of ``mallopt``, from glibc's ``malloc.h``, and their maximum values.
_TRIM_THRESHOLD, _TRIM_BYTES = -1, 2**31 - 1
_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 * 1024 * 1024
#: As many as stages of a range that overlap: every range has threads of its own, and each of them could leave one.
_ARENA_MAX, _ARENAS = -8, 3


def keep_for_good() -> None:
    """Exclude everything that is now in memory from garbage collection; does nothing outside a Spark task.

    Spark's workers collect garbage after every task; with torch and a model in memory each collection takes 0.3 s.
    """
    if TaskContext.get() is not None:
        gc.collect()
        gc.freeze()


def keep_freed() -> None:
    """Let this process reuse the memory that it frees; does nothing without glibc.

    Otherwise the system takes back the tensors of one batch and clears every page for the next. The peak is the same.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
        mallopt(_ARENA_MAX, _ARENAS)


#: PySpark's own function, called in each forked worker.
_SERVE = daemon.worker
#: The environment variable that says where the daemon's socket is to be.
_SOCKETS = "PYTHON_WORKER_FACTORY_SOCK_DIR"
#: The environment variable that holds the model's record as JSON.
MODEL = "EMBEDSHIFT_WORKER_MODEL"


def preload() -> None:
    """Load the model that the environment names, in one thread: a thread pool does not survive a fork."""
    # With the usual check, CUDA would be initialised before the fork, and fail after it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    record = ModelRecord.of_plain(json.loads(os.environ[MODEL]))
    if record.service is not None:
        return  # nothing is computed here
    use_threads(1)
    settings = record.settings()
    try:
        if device_of(settings) == "cpu":
            load_model(settings, record.precision)
    except ModelUnavailable:
        return  # the task that needs it will report that as the outcome of its range
    # Workers collect garbage after every task: what they inherit need not be scanned.
    gc.freeze()


def serve(sock: socket, authenticated: bool) -> int:
    """Serve tasks in a forked worker. A JVM that hangs up ends it without a trace: the step says what happened."""
    if hasattr(select, "POLLRDHUP"):
        threading.Thread(target=_end_with, args=(sock,), name="embedshift-hang-up", daemon=True).start()
    try:
        return int(_SERVE(sock, authenticated))
    except ConnectionError:
        return 1


def _end_with(sock: socket) -> None:
    """End this process when the JVM hangs up: a task that it has cancelled must not begin another write.

    Spark itself would kill the worker only after ``spark.task.reaper`` or two seconds, and not at all if the JVM died.
    """
    hang_up = select.poll()
    hang_up.register(sock, select.POLLRDHUP)
    hang_up.poll()
    os._exit(1)


@contextmanager
def own_sockets() -> Iterator[None]:
    """Let the daemon's socket lie where nobody but this user can reach it.

    The driver has made such a directory on its own machine; the daemon of an executor elsewhere makes one.
    """
    if os.environ.get("PYTHON_UNIX_DOMAIN_ENABLED", "").lower() != "true" or is_private(Path(os.environ[_SOCKETS])):
        yield
        return
    usual = Path(tempfile.gettempdir())
    # The JVM expects a Unix socket, so the path must be short enough for one.
    with private_directory(usual if fits_sockets(usual / PREFIX / "xxxxxxxx") else Path("/tmp")) as directory:
        os.environ[_SOCKETS] = str(directory)
        yield


if __name__ == "__main__":
    daemon.worker = serve
    keep_freed()
    if MODEL in os.environ:
        preload()
    with own_sockets():
        daemon.manager()
