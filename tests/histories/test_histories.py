"""Random histories of the whole product on the embedded store: whatever happens, in whatever order, nothing is lost.

Defends invariants 1 to 7. A failure prints the shortest history that Hypothesis found for it, and the seed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.histories.conftest import run_histories
from tests.histories.machine import Histories

EXAMPLES, STEPS = 6, 50


def test_nothing_is_lost_resurrected_or_mixed_whatever_happens(
    old_model: Path, new_model: Path, stats: Counter[str]
) -> None:
    bound = type("Bound", (Histories,), {"models": (old_model, new_model), "stats": stats})
    run_histories(bound, examples=EXAMPLES, steps=STEPS)
