"""How a window of texts is cut into batches: texts of like length together, a bounded number of tokens at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Most texts in one batch, however short they are.
ROWS_MAX = 256


def token_batches(lengths: NDArray[np.int64], tokens_max: int) -> list[NDArray[np.int64]]:
    """Cut texts into batches whose padded size stays within a budget, the longest texts first.

    Args:
        lengths: tokens of each text, shape (n,).
        tokens_max: most tokens of a batch, padding included; a longer text makes a batch of its own.

    Returns:
        Arrays of positions; together they hold every position once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        rows = min(ROWS_MAX, max(1, tokens_max // longest))
        batches.append(order[start : start + rows])
        start += rows
    return batches
