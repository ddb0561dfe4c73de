"""Batches of texts: like lengths together, a bounded number of tokens at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedshift.embedding.batching import ROWS_MAX, token_batches

lengths = st.lists(st.integers(0, 3000), max_size=600).map(lambda values: np.array(values, np.int64))


@given(lengths, st.integers(1, 10_000))
def test_every_text_is_in_one_batch(lengths, most):
    batches = token_batches(lengths, most)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))


@given(lengths, st.integers(1, 10_000))
def test_no_batch_is_greater_than_its_budget_unless_one_text_is(lengths, most):
    for batch in token_batches(lengths, most):
        longest = int(lengths[batch].max())
        assert 1 <= len(batch) <= ROWS_MAX
        assert len(batch) == 1 or len(batch) * longest <= most


@given(lengths, st.integers(1, 10_000))
def test_the_longest_come_first(lengths, most):
    """So that memory is at its greatest in the first batch, not in some later one."""
    order = [int(lengths[row]) for batch in token_batches(lengths, most) for row in batch.tolist()]
    assert order == sorted(order, reverse=True)
