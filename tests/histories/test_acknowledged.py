"""Random histories of the whole product, judged by what was acknowledged, and by nothing that the product decides.

Defends invariants 1 to 5, 7, 12 and 13. A failure prints the shortest history that Hypothesis found for it, and the
seed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.acknowledged import AcknowledgedHistories
from tests.histories.conftest import HISTORIES, SEED

#: With HISTORIES=13 more than 10,000 rules.
EXAMPLES, STEPS = 20, 40


def test_what_was_acknowledged_is_there_and_what_was_deleted_is_not(
    old_model: Path, new_model: Path, stats: Counter[str]
) -> None:
    bound = type("Bound", (AcknowledgedHistories,), {"models": (old_model, new_model), "stats": stats})
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
