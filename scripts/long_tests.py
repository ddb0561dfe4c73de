"""The tests that take long by nature, in parts: ``python scripts/long_tests.py [PART …]``; ``make test-long PART=…``.

Each part takes at most half an hour and can be run by itself. A part that passes on a committed tree is recorded in
tests/long_runs.json with the day and the commit. Without names all parts run, the one that was green longest ago first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "long_runs.json"
#: Seconds after which a part counts as failed.
DEADLINE_S = 30 * 60


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what it runs, and what it is about."""

    about: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)


PARTS = {
    "histories": Part(
        "thousands of random steps of the whole product, each followed by a comparison with what must be true",
        ("-m", "pytest", "tests/histories"),
        {"HISTORIES": "20"},
    ),
    "kills": Part(
        "loads killed at ten random moments, and at the others that the short tests know, on Cassandra",
        ("-m", "pytest", "tests/cluster/test_killed_runs.py", "tests/faults/test_killed_runs.py"),
        {"KILLS": "10"},
    ),
    "neighbour": Part(
        "what another application feels of a load with a limit, and without; and what validations make of applications",
        ("-m", "pytest", "tests/cluster/test_throttle.py", "tests/faults/test_a_busy_table.py", "-m", "long", "-s"),
    ),
    "cranfield": Part(
        "the whole Cranfield collection on Cassandra: every abstract arrives, and the figures are those computed apart",
        ("-m", "pytest", "tests/cluster/test_migration.py", "tests/end_to_end/test_cranfield.py", "-m", "long"),
    ),
    "faults": Part(
        "every fault on three Cassandra nodes",
        ("-m", "pytest", "tests/reliability", "-m", "matrix or not matrix", "-s"),
    ),
    "nodes": Part(
        "the runner of Cassandra nodes: killed, suspended, guarded, stopped",
        ("-m", "pytest", "tests/cluster/test_node_runner.py"),
    ),
    "scylla": Part(
        "ScyllaDB's rules, by the stand-in, and a whole migration under them with clocks that are ahead",
        ("-m", "pytest", "tests/scylla"),
    ),
    "service": Part(
        "Infinity, a real embedding server: Cranfield by way of it, killed in the middle; figures computed apart",
        ("-m", "pytest", "tests/end_to_end/test_infinity.py", "-m", "long"),
    ),
    "soak": Part(
        "migrations again and again on one node, with random faults, while applications write",
        ("scripts/soak.py", "--minutes", "10", "--nodes", "1"),
    ),
    "soak-three-nodes": Part(
        "the same on three nodes, which are stopped and killed too",
        ("scripts/soak.py", "--minutes", "10", "--nodes", "3"),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts one after another. Returns 0 if all passed, 1 if not."""
    parser = argparse.ArgumentParser(prog="scripts/long_tests.py", description=str(__doc__).partition("\n")[0])
    parser.add_argument("part", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="only say when each part was green")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.part if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}: choose among {', '.join(PARTS)}")
    record = read_record()
    if options.list:
        for name, part in PARTS.items():
            seen = record.get(name)
            green = f"{seen['date']} {seen['commit'][:10]}" if seen else "never"
            print(f"{name:<18} {green:<22} {part.about}")
        return 0
    names = options.part or sorted(PARTS, key=lambda name: record.get(name, {}).get("date", ""))
    return max([_run(name) for name in names], default=0)


def read_record() -> dict[str, dict[str, str]]:
    """When each part was last green: day, commit and minutes."""
    known: dict[str, dict[str, str]] = json.loads(RECORD.read_text("utf-8"))
    return known


def _run(name: str) -> int:
    part, started = PARTS[name], time.monotonic()
    print(f"{name}: {part.about}", flush=True)
    command = [sys.executable, *part.command]
    try:
        code = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **part.environment}, timeout=DEADLINE_S, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"{name}: it did not end within {DEADLINE_S // 60} minutes", file=sys.stderr)
        code = 1
    minutes = (time.monotonic() - started) / 60
    print(f"{name}: {'failed' if code else 'passed'} after {minutes:.0f} minutes", flush=True)
    if code == 0:
        _note(name, minutes)
    return int(code != 0)


def _note(name: str, minutes: float) -> None:
    if _git("status", "--porcelain", "--untracked-files=no"):
        print(f"{name}: not recorded, because the tree has changes that are not committed", file=sys.stderr)
        return
    day = datetime.now(UTC).date().isoformat()
    seen = {"date": day, "commit": _git("rev-parse", "HEAD"), "minutes": f"{minutes:.0f}"}
    tree = dict(sorted({**read_record(), name: seen}.items()))
    RECORD.write_text(json.dumps(tree, indent=2) + "\n", "utf-8")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
