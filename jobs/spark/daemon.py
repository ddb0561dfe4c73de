"""Spark's Python daemon, with the model loaded before it forks: workers share its pages, and start at once.

Spark starts one daemon an executor and forks every Python worker from it. Importing torch takes seconds and a large
model gigabytes; done here, it is done once a machine. Named by ``spark.python.daemon.module``.
"""

from __future__ import annotations

import gc
import json
import os
import sys

from pyspark.daemon import manager

from jobs.catalog.endpoint import ModelRecord
from jobs.embedding import device_of, load_model, use_threads
from jobs.errors import ModelUnavailable

#: The environment variable that holds the model's record as JSON.
MODEL = "EMBEDSHIFT_WORKER_MODEL"
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


if __name__ == "__main__":
    if MODEL in os.environ and sys.argv[1:2] == [_TASKS]:
        preload()
        # Workers collect garbage after every task: what they are born with need not be looked through.
        gc.freeze()
    manager()
