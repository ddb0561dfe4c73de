"""What Spark itself costs: ``python -m benchmarks.empty_tasks``: tasks that do nothing, from an RDD and a DataFrame.

Each way in a process of its own, in turns: seconds from the start of the process to the end of the first task, and
seconds for the tasks after it. Decision 34 compares the two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyspark import SparkConf

_TASKS, _TURNS, _DEADLINE_S = 1000, 2, 300
_WAYS = ("RDD", "DataFrame")


def main() -> None:
    """Print a line for each way and turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.empty_tasks")
    parser.add_argument("--way", choices=_WAYS, help="in this process: used by the command itself")
    chosen = parser.parse_args().way
    if chosen:
        _run(chosen, float(os.environ["EMBEDSHIFT_STARTED"]))
        return
    for _ in range(_TURNS):
        for way in _WAYS:
            environment = {**os.environ, "EMBEDSHIFT_STARTED": str(time.time())}
            command = [sys.executable, "-m", "benchmarks.empty_tasks", "--way", way]
            done = subprocess.run(command, env=environment, check=True, timeout=_DEADLINE_S, stdout=subprocess.PIPE)
            print(done.stdout.decode().strip(), flush=True)


def _run(way: str, started: float) -> None:
    job = _rdd() if way == "RDD" else _data_frame()
    job(1)
    first = time.time()
    job(_TASKS)
    print(f"{way:<10} first task after {first - started:.1f} s, {_TASKS:,} more in {time.time() - first:.1f} s")


def _rdd() -> Callable[[int], object]:
    from pyspark import SparkContext

    context = SparkContext(conf=_conf())
    return lambda tasks: context.parallelize(range(tasks), tasks).foreachPartition(_drain)


def _data_frame() -> Callable[[int], object]:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.config(conf=_conf()).getOrCreate()
    return lambda tasks: session.range(0, tasks, 1, tasks).mapInArrow(_unchanged, "id long").collect()


def _conf() -> SparkConf:
    from pyspark import SparkConf

    return SparkConf().setMaster("local[*]").setAppName("empty tasks").set("spark.ui.enabled", "false")


def _drain(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _unchanged(batches: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
    yield from batches


if __name__ == "__main__":
    main()
