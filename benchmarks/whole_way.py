"""The whole way of a large table: ``python -m benchmarks.whole_way [--rows 1000000]``.

The real commands on the embedded store, with a static model, on all cores: time, and peak memory of the command and of
its workers, for each step.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.record import heading, write_record
from benchmarks.scale import DIMENSION, filled, watched

_STEPS = ("load", "sync", "index", "sync", "validate")


def main() -> None:
    """Print a line for each step, and write them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_way")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    head = heading(f"python -m benchmarks.whole_way --rows {rows}")
    steps: list[dict[str, Any]] = []
    with filled(rows) as world:
        # Recall of random vectors says nothing; everything else is checked.
        world.with_settings(validation={"recall_at_10": 0, "relevance_drop": 1, "probes": 200})
        world.step("prepare")
        for name in _STEPS:
            started = time.perf_counter()
            own_mb, worker_mb = watched(world, name)
            seconds = time.perf_counter() - started
            steps.append({"step": name, "seconds": seconds, "command_mb": own_mb, "worker_mb": worker_mb})
            print(
                f"{name:<10} {seconds:>8.1f} s  {rows / seconds:>8,.0f} rows/s  command {own_mb:>6,.0f} MB"
                f"  worker {worker_mb:>6,.0f} MB",
                flush=True,
            )
    print(f"written: {write_record({**head, 'rows': rows, 'dimension': DIMENSION, 'steps': steps}, 'whole-way')}")


if __name__ == "__main__":
    main()
