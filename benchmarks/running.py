"""Run the measures one after another, each in a process of its own, until a deadline."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measures import Measure
from benchmarks.node import shared_node

ROOT = Path(__file__).resolve().parents[1]
#: Seconds that a child gets to end what it has started, such as Spark's JVM.
_GRACE_S = 10


def run(
    measures: Sequence[Measure], *, quick: bool, budget_s: float, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run measures in turn.

    Args:
        quick: whether each measure does less.
        budget_s: seconds for all of them together; a measure that is still running then is ended and left out.
        say: is told which measure begins.

    Returns:
        One tree per measure: name, title, seconds, results (``Result.tree``) and, without results, why it was left out.
    """
    deadline = time.monotonic() + budget_s
    wanting = any(each.node for each in measures)
    if wanting:
        say("start a Cassandra node")
    made = []
    with shared_node(wanting) as environment, tempfile.TemporaryDirectory() as folder:
        for each in measures:
            say(each.title)
            started = time.monotonic()
            told = _alone(each, Path(folder), quick, deadline - started, environment)
            seconds = round(time.monotonic() - started, 1)
            made.append({"name": each.name, "title": each.title, "seconds": seconds, **told})
    return made


def _alone(
    measure: Measure, folder: Path, quick: bool, left_s: float, environment: Mapping[str, str]
) -> dict[str, Any]:
    if importlib.util.find_spec(f"benchmarks.{measure.name}") is None:
        return _left_out("there is no such module")
    if left_s <= 0:
        return _left_out("the time was up before it began")
    file, log = folder / f"{measure.name}.json", folder / f"{measure.name}.log"
    command = [sys.executable, "-m", "benchmarks.alone", measure.name, str(file), *["--quick"] * quick]
    with log.open("w", encoding="utf-8") as lines:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **environment},
            stdout=lines,
            stderr=lines,
            start_new_session=True,
        )
        try:
            process.wait(left_s)
        except subprocess.TimeoutExpired:
            return _left_out("the time was up before it had ended")
        finally:
            _end(process)
    if process.returncode or not file.exists():
        last = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        return _left_out(f"it failed: {last[-1].strip() if last else process.returncode}")
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return told


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a measure and everything that it has started: it leads a session of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue


def _left_out(reason: str) -> dict[str, Any]:
    return {"results": [], "left_out": reason}
