"""Random histories of the whole product, judged by what was acknowledged, and by nothing that the product decides.

Defends invariants 1 to 5, 7, 12 and 13. A failure prints the shortest history that Hypothesis found for it, and the
seed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.histories.acknowledged import AcknowledgedHistories
from tests.histories.conftest import run_histories

#: With HISTORIES=20 some 6,000 rules.
EXAMPLES, STEPS = 6, 40


@pytest.mark.parametrize("log_fed", [False, True], ids=["indexes that see everything", "indexes that follow a log"])
def test_what_was_acknowledged_is_there_and_what_was_deleted_is_not(
    old_model: Path, new_model: Path, stats: Counter[str], log_fed: bool
) -> None:
    """The second store is of ScyllaDB's kind: an index may lack what its table has. After a clean pass it does not."""
    members = {"models": (old_model, new_model), "stats": stats, "log_fed": log_fed}
    bound = type("Bound", (AcknowledgedHistories,), members)
    run_histories(bound, examples=EXAMPLES // 2, steps=STEPS)
