"""Random histories of the whole product on the embedded store: whatever happens, in whatever order, nothing is lost.

Defends invariants 1 to 7. A failure prints the shortest history that Hypothesis found for it, and the seed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.conftest import HISTORIES, SEED
from tests.histories.machine import Histories

EXAMPLES, STEPS = 15, 50


def test_nothing_is_lost_resurrected_or_mixed_whatever_happens(
    old_model: Path, new_model: Path, stats: Counter[str]
) -> None:
    bound = type("Bound", (Histories,), {"models": (old_model, new_model), "stats": stats})
    run_state_machine_as_test(
        seed(SEED)(bound),
        settings=settings(
            max_examples=max(1, round(EXAMPLES * HISTORIES)),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
