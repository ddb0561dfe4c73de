"""One measure in a process of its own, with results in a file: ``python -m benchmarks.alone NAME FILE [--quick]``."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.pairs import LeftOut


def main(name: str, file: str, *options: str) -> None:
    """Measure, and write ``{"results": […], "left_out": reason}``."""
    told: dict[str, object] = {"results": [], "left_out": ""}
    try:
        module = importlib.import_module(f"benchmarks.{name}")
        told["results"] = [each.tree() for each in module.measure(quick="--quick" in options)]
    except LeftOut as reason:
        told["left_out"] = str(reason)
    Path(file).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
