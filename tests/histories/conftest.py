"""The seed of the histories, and how many of them; both are told at the end of a run."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

#: What was done in this run, by rule and by outcome.
TALLY: Counter[str] = Counter()
SEED = int(os.environ.get("EMBEDSHIFT_SEED") or random.SystemRandom().randrange(2**32))
#: Multiplies the number of histories, for long runs.
HISTORIES = float(os.environ.get("HISTORIES") or 1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TALLY:
        rules = sum(count for name, count in TALLY.items() if ":" not in name)
        terminalreporter.write_line(f"histories: {rules:,} rules, EMBEDSHIFT_SEED={SEED}")
        told = ", ".join(f"{name} {count}" for name, count in sorted(TALLY.items()))
        terminalreporter.write_line(told)
