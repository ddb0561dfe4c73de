"""Migrations again and again on a real Cassandra, while applications write and faults strike at random.

    python scripts/soak.py [--minutes 10] [--nodes 1|3] [--rows 240] [--seed N]

Each round is a whole migration of a live table into the next one: articles, articles_v2, articles_v3, … In each round a
random step is hit by a random fault; the step is run again until it succeeds. Meanwhile applications write through the
client, and one writes its table directly. Then every row is compared (scripts/check.py), and also with what the
applications know to have written. A round ends with the old table retired, or, one time in four, with a rollback. The
same seed draws the same rounds; the moment of a fault depends on the machine.

Ctrl-C ends everything that was started. Exit codes: 0 nothing wrong, 1 something was lost, brought back, overwritten or
mixed, or a step did not succeed, 3 this machine cannot run Cassandra, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder on the path, but imports are named from the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from scripts.run_cassandra import CassandraUnavailable
from tests.reliability.matrix import Matrix
from tests.reliability.soak import Soak, new_soak


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.nodes} nodes, {options.rows} articles, {options.minutes:g} minutes", flush=True)
    matrix, rounds, started = Matrix(), 0, time.monotonic()
    trouble = ""
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            soak = new_soak(stack, Path(folder), options.nodes, options.rows, random.Random(seed))
            print(f"the nodes and Spark were running after {time.monotonic() - started:.0f} s", flush=True)
            born = time.monotonic()
            while time.monotonic() - born < options.minutes * 60:
                rounds += 1
                _round(soak, matrix, rounds)
    except CassandraUnavailable as error:
        print(f"Cassandra cannot run here: {error.reason}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        trouble = "interrupted"
    except Exception as error:  # noqa: BLE001 - a soak prints its results before it fails
        trouble = f"{type(error).__name__}: {error}"
    return _end(matrix, rounds, time.monotonic() - started, seed, trouble)


def _round(soak: Soak, matrix: Matrix, number: int) -> None:
    before = len(matrix.outcomes)
    soak.round(matrix)
    for outcome in matrix.outcomes[before:]:
        print(f"round {number}: {' | '.join(outcome.cells)}", flush=True)


def _end(matrix: Matrix, rounds: int, seconds: float, seed: int, trouble: str) -> int:
    print(f"\n{matrix.markdown}")
    sums = {
        name: sum(getattr(each, name) or 0 for each in matrix.outcomes)
        for name in ("rows", "again", "lost", "resurrected", "overwritten", "mixed")
    }
    print(f"{rounds} rounds in {seconds:.0f} s, seed {seed}: " + ", ".join(f"{n} {name}" for name, n in sums.items()))
    if trouble:
        print(f"soak: {trouble}", file=sys.stderr)
    if trouble == "interrupted":
        return 130
    return int(bool(trouble) or any(sums[name] for name in ("lost", "resurrected", "overwritten", "mixed")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak.py", description="Migrate again and again while things go wrong.")
    parser.add_argument("--minutes", type=float, default=10, help="no round begins after this (default: 10)")
    parser.add_argument("--nodes", type=int, default=3, choices=(1, 3), help="nodes of the cluster (default: 3)")
    parser.add_argument("--rows", type=int, default=240, help="articles at the start (default: 240)")
    parser.add_argument("--seed", type=int, help="the seed of an earlier run, to draw the same rounds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
