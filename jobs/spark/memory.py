"""The memory of Spark's Python workers."""

from __future__ import annotations

import ctypes
import gc
import platform

from pyspark import TaskContext

#: Parameters of ``mallopt``, from glibc's ``malloc.h``, and the greatest values that it takes for them.
_TRIM_THRESHOLD, _TRIM_BYTES = -1, 2**31 - 1
_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 * 1024 * 1024


def keep_for_good() -> None:
    """Take everything that is in memory now out of the garbage collector's sight; nothing outside a Spark task.

    Spark's workers collect garbage after every task; with torch and a model in memory each collection takes 0.3 s.
    """
    if TaskContext.get() is not None:
        gc.collect()
        gc.freeze()


def keep_freed() -> None:
    """Let this process keep the memory that it frees for what it allocates next; nothing without glibc.

    Else the system takes back the tensors of one batch and clears every page for the next. The peak is the same.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
