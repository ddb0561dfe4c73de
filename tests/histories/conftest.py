"""The seed of the histories, and how many of them; what was done in them is told at the end of a run."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

SEED = int(os.environ.get("EMBEDSHIFT_SEED") or random.SystemRandom().randrange(2**32))
#: Multiplies the number of histories, for long runs.
HISTORIES = float(os.environ.get("HISTORIES") or 1)


@pytest.fixture
def stats(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """What was done, by rule and by outcome."""
    counts: Counter[str] = Counter()
    yield counts
    rules = sum(count for name, count in counts.items() if ":" not in name)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    record_property("told", f"histories: {rules:,} rules, EMBEDSHIFT_SEED={SEED}\n{told}")


def run_histories(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Run a machine whose class has everything that it needs, so many times ``HISTORIES``, from the seed."""
    run_state_machine_as_test(
        seed(SEED)(machine),
        settings=settings(
            max_examples=max(1, round(examples * HISTORIES)),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
