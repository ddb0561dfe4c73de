"""The memory of Spark's Python workers."""

from __future__ import annotations

import gc

from pyspark import TaskContext


def keep_for_good() -> None:
    """Take everything that is in memory now out of the garbage collector's sight; nothing outside a Spark task.

    Spark's workers collect garbage after every task; with torch and a model in memory each collection takes 0.3 s.
    """
    if TaskContext.get() is not None:
        gc.collect()
        gc.freeze()
