"""embedshift against the bare libraries on the same cores: ``python -m benchmarks [--quick] [--only NAME]``.

Writes a JSON record and a page with pictures into ``benchmarks/results``; prints a table. The exit code is 0 whether
goals were reached or not: figures are no tests.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine, versions
from benchmarks.measures import MEASURES
from benchmarks.page import goal, html, rate, spread
from benchmarks.running import run

#: Seconds that a whole and a quick run may take at most.
_BUDGET_S, _QUICK_S = 1190, 118
_RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, print."""
    options = _parser().parse_args(arguments)
    chosen = [each for each in MEASURES if not options.only or each.name in options.only]
    console = Console(highlight=False)
    started, here = time.monotonic(), machine()
    made = run(
        chosen,
        quick=options.quick,
        budget_s=_QUICK_S if options.quick else _BUDGET_S,
        say=console.print,
    )
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python -m benchmarks", *["--quick"] * options.quick, *_only(options.only)]),
        "quick": options.quick,
        "seconds": round(time.monotonic() - started),
        "machine": here,
        "versions": versions(),
        "measures": made,
    }
    console.print(_table(made))
    for each in made:
        if each["left_out"]:
            console.print(f"not measured: {each['title']} ({each['left_out']})", markup=False)
    for file in _written(record, options.output):
        console.print(f"written: {file}", markup=False)
    return 0


def _only(names: Sequence[str] | None) -> list[str]:
    return [f"--only {name}" for name in names or ()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two minutes instead of twenty; noisy")
    parser.add_argument("--only", action="append", choices=[each.name for each in MEASURES], help="may be repeated")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="the folder of record and page")
    return parser


def _table(made: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("what, and against what", "ours", "theirs", "ratio", "goal", show_lines=True)
    for each in (result for measure in made for result in measure["results"]):
        what = f"{each['name']} ({each['unit']})\n{each['against']}"
        colour = {True: "green", False: "red", None: ""}[each["reached"]]
        table.add_row(what, rate(each["ours"]), rate(each["theirs"]), spread(each), goal(each), style=colour)
    return table


def _written(record: Mapping[str, Any], folder: Path) -> list[Path]:
    """JSON and page, named by date and processor, so that runs of several machines lie side by side."""
    processor = re.sub(r"[^a-z0-9]+", "-", str(record["machine"]["processor"]).lower()).strip("-")
    name = f"{record['date']}-{processor}-{record['machine']['cores']}-cores{'-quick' if record['quick'] else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.json", folder / f"{name}.html"]
    files[0].write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    files[1].write_text(html(record), encoding="utf-8")
    return files


if __name__ == "__main__":
    sys.exit(main())
