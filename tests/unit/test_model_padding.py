"""Padded batches: what the tokenizer's own padding gives, on either side."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedshift.embedding.batching import Tokens
from embedshift.embedding.packaged import load_packaged

TEXTS = st.lists(st.text(max_size=40) | st.just("bread " * 600), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=["right", "left"])
def tokenizer(request: pytest.FixtureRequest):
    own = deepcopy(load_packaged("package:all-MiniLM-L6-v2", "cpu").tokenizer)
    own.padding_side = request.param
    return own


@settings(max_examples=50)
@given(TEXTS, st.randoms(use_true_random=False))
def test_a_batch_is_padded_as_the_tokenizer_does_it(tokenizer, texts, random):
    columns = dict(tokenizer(texts, truncation=True, max_length=256, padding=False))
    rows = np.array(random.sample(range(len(texts)), random.randint(1, len(texts))))
    chosen = {name: [column[row] for row in rows] for name, column in columns.items()}
    expected = tokenizer.pad(chosen, return_tensors="pt")
    del columns["attention_mask"]
    tokens = Tokens(tokenizer, columns)
    assert tokens.lengths.tolist() == [len(ids) for ids in columns["input_ids"]]
    found = tokens.padded(rows)
    assert found.keys() == expected.keys()
    for name, column in found.items():
        assert column.dtype == expected[name].dtype
        np.testing.assert_array_equal(column, expected[name])


def test_a_tokenizer_without_padding_of_its_own_pads_with_what_the_mask_hides(tokenizer):
    without = deepcopy(tokenizer)
    without.pad_token = None
    batch = Tokens(without, {"input_ids": [[5, 6, 7], [8]]}).padded(np.array([0, 1]))
    short = [8, 0, 0] if tokenizer.padding_side == "right" else [0, 0, 8]
    assert batch["input_ids"].tolist() == [[5, 6, 7], short]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [int(each > 0) for each in short]]
