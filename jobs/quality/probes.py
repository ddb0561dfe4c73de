"""Probes: rows from all over the ring whose own vectors are searched for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jobs.quality.keys import row_keys
from jobs.quality.sampling import draw_rows
from jobs.quality.subject import Subject
from jobs.quality.vectors import matrix
from jobs.stores.contract import Store


def sample_probes(store: Store, subject: Subject, n: int, seed: int) -> tuple[NDArray[np.float32], list[bytes]]:
    """Draw vectors of the target to search for.

    Args:
        n: how many; fewer come back where the table has fewer.
        seed: the same seed draws the same rows, as long as the table stays as it is.

    Returns:
        Vectors of shape (found, dimension), float32, and the rows' keys as ``keys.row_keys`` has them.
    """
    rows = draw_rows(store, subject, n, seed)
    return matrix(rows.column(subject.target_vector)), row_keys(subject.target, rows)
