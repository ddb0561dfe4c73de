"""The processor time of commands that only look: ``embedshift --help`` and ``embedshift status``."""

from __future__ import annotations

import resource
import subprocess
import sys

from benchmarks.pairs import Result
from benchmarks.scenes import scene


def measure(*, quick: bool) -> list[Result]:
    """In a fresh process each, on a table whose migration is under way."""
    turns = 2 if quick else 7
    with scene("embedded") as world:
        world.step("prepare")
        commands = ((["--help"], 0.35), (["status", "--config", str(world.config)], 0.6))
        return [
            Result(
                f"embedshift {command[0]}",
                "a second",
                "s of processor time",
                [_processor_s(command) for _ in range(turns + 1)][1:],
                [1.0] * turns,
                goal,
                most=True,
                note="embedded store; the first turn does not count",
            )
            for command, goal in commands
        ]


def _processor_s(command: list[str]) -> float:
    before = _used_s()
    subprocess.run([sys.executable, "-m", "embedshift", *command], check=True, capture_output=True, timeout=60)
    return _used_s() - before


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
