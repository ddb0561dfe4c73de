"""Spark's Python daemon, with the model loaded before it forks: workers share its pages, and start at once.

Spark starts one daemon an executor and forks every Python worker from it. Importing torch takes seconds and a large
model gigabytes; done here, it is done once a machine. Named by ``spark.python.daemon.module``.

While a daemon starts, the JVM starts no other Python process. A local session needs some to plan, so its driver sends
an errand ahead: the daemon lets its first worker go without the model, and loads it behind it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark import daemon

from jobs.catalog.endpoint import ModelRecord
from jobs.embedding import device_of, load_model, use_threads
from jobs.errors import ModelUnavailable
from jobs.spark.memory import keep_freed

#: The environment variable that holds the model's record as JSON.
MODEL = "EMBEDSHIFT_WORKER_MODEL"
#: The environment variable that is set where the first worker is for an errand.
ERRAND = "EMBEDSHIFT_WORKER_ERRAND"
#: The workers that run tasks; Spark has daemons of other kinds, for planning, which need no model.
_TASKS = "pyspark.worker"


def preload() -> None:
    """Load the model that the environment names, in one thread: a pool of threads does not survive a fork."""
    # Asked in the usual way, CUDA would be set up before the fork, and fail after it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    record = ModelRecord(**json.loads(os.environ[MODEL]))
    use_threads(1)
    settings = record.settings()
    try:
        if device_of(settings) == "cpu":
            load_model(settings, record.precision)
    except ModelUnavailable:
        return  # the task that needs it will say so, as the outcome of its range
    # Workers collect garbage after every task: what they are born with need not be looked through.
    gc.freeze()


def preload_behind_the_first_worker() -> None:
    """Load it in the daemon as soon as the first worker has been forked."""
    left = [preload]
    os.register_at_fork(after_in_parent=lambda: left.pop()() if left else None)


def run_errand(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The errand's task, for ``mapInArrow``: gives the id of its process, which ends behind it."""

    def end(*_: Any) -> None:
        os._exit(0)

    deque(batches, maxlen=0)
    # What the worker would do next: the next task of Spark.
    daemon.worker = end  # type: ignore[assignment]
    yield pa.RecordBatch.from_pydict({"process": [os.getpid()]})


def say(*words: Any, file: Any = None) -> None:
    """Print what the daemon has to say, but not that the JVM hung up on a worker: the step says what happened."""
    if not isinstance(sys.exc_info()[1], ConnectionError):
        print(*words, file=file)


if __name__ == "__main__":
    daemon.print = say  # type: ignore[attr-defined]
    keep_freed()
    if MODEL in os.environ and sys.argv[1:2] == [_TASKS]:
        if ERRAND in os.environ:
            preload_behind_the_first_worker()
        else:
            preload()
    daemon.manager()
