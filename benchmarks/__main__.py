"""Compare embedshift with the bare libraries on the same cores: ``python -m benchmarks [--quick] [--only NAME]``.

Writes a JSON record and a page with charts into ``benchmarks/results``, and prints a table. The exit code is 0 whether
goals are reached or not, because figures are not tests.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measures import MEASURES
from benchmarks.page import goal, html, rate, spread
from benchmarks.record import RESULTS, heading, write_record
from benchmarks.running import run

#: The maximum seconds of a whole and of a quick run.
_BUDGET_S, _QUICK_S = 1190, 118


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, print."""
    options = _parser().parse_args(arguments)
    chosen = [each for each in MEASURES if not options.only or each.name in options.only]
    console = Console(highlight=False)
    head = heading(" ".join(["python -m benchmarks", *["--quick"] * options.quick, *_only(options.only)]))
    started = time.monotonic()
    made = run(
        chosen,
        quick=options.quick,
        budget_s=_QUICK_S if options.quick else _BUDGET_S,
        say=console.print,
    )
    record = {**head, "quick": options.quick, "seconds": round(time.monotonic() - started), "measures": made}
    console.print(_table(made))
    for each in made:
        if each["left_out"]:
            console.print(f"not measured: {each['title']} ({each['left_out']})", markup=False)
    # A run of some measures must not replace the record of a whole one.
    kind = "quick" if options.quick else "partial" if options.only else ""
    file = write_record(record, kind, options.output)
    page = file.with_suffix(".html")
    page.write_text(html(record), encoding="utf-8")
    for written in (file, page):
        console.print(f"written: {written}", markup=False)
    return 0


def _only(names: Sequence[str] | None) -> list[str]:
    return [f"--only {name}" for name in names or ()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two minutes instead of twenty; less precise")
    parser.add_argument("--only", action="append", choices=[each.name for each in MEASURES], help="may be repeated")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder for record and page")
    return parser


def _table(made: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("what, and compared with what", "ours", "theirs", "ratio", "goal", show_lines=True)
    for each in (result for measure in made for result in measure["results"]):
        what = f"{each['name']} ({each['unit']})\n{each['against']}"
        colour = {True: "green", False: "red", None: ""}[each["reached"]]
        table.add_row(what, rate(each["ours"]), rate(each["theirs"]), spread(each), goal(each), style=colour)
    return table


if __name__ == "__main__":
    sys.exit(main())
