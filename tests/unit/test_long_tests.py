"""The long tests: their parts can be run, and the record names none that does not exist."""

from __future__ import annotations

import re
import subprocess
import sys

from scripts.long_tests import PARTS, ROOT, read_record


def test_the_record_names_parts_with_the_day_and_the_commit_of_their_last_green_run():
    record = read_record()
    assert set(record) <= set(PARTS)
    for seen in record.values():
        assert set(seen) == {"date", "commit", "minutes"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", seen["date"])
        assert re.fullmatch(r"[0-9a-f]{40}", seen["commit"])


def test_what_a_part_runs_is_there():
    for part in PARTS.values():
        named = [each for each in part.command if "/" in each]
        assert named
        assert all((ROOT / each).exists() for each in named)


def test_the_list_has_every_part():
    command = [sys.executable, "scripts/long_tests.py", "--list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(PARTS)
