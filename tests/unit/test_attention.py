"""Attention in bfloat16: near to the truth within what bfloat16 can tell, and torch's own where that suits better."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from embedshift.embedding import attention as module
from embedshift.embedding import load_model
from embedshift.embedding.attention import QuickAttention, attention
from embedshift.settings import ModelSettings


def drawn(texts: int = 3, heads: int = 4, tokens: int = 17, width: int = 32, size: float = 1, seed: int = 1):
    chance = torch.Generator().manual_seed(seed)
    shape = (3, texts, tokens, heads, width)  # a model's own layout: heads lie within tokens
    return [each.bfloat16().transpose(1, 2) for each in size * torch.randn(shape, generator=chance)]


def padding(texts: int, tokens: int, seed: int = 1) -> torch.Tensor:
    lengths = torch.randint(1, tokens + 1, (texts,), generator=torch.Generator().manual_seed(seed))
    return (torch.arange(tokens) < lengths[:, None])[:, None, None, :].expand(texts, 1, tokens, tokens)


@given(
    texts=st.integers(1, 4),
    heads=st.integers(1, 3),
    tokens=st.integers(1, 40),
    seed=st.integers(0, 99),
    pad=st.booleans(),
)
def test_it_is_attention(texts, heads, tokens, seed, pad):
    query, key, value = drawn(texts, heads, tokens, seed=seed)
    mask = padding(texts, tokens, seed) if pad else None
    exact = scaled_dot_product_attention(query.double(), key.double(), value.double(), mask)
    found = attention(query, key, value, mask)
    assert found.dtype == torch.bfloat16
    assert found.shape == query.shape
    # Weights are averaged, so the error is that of a weight: 8 bits of a score below 8, and of the weight itself.
    assert (found.double() - exact).abs().max() <= 0.03 * value.abs().max()


def test_the_scale_is_the_callers():
    query, key, value = drawn()
    exact = scaled_dot_product_attention(query.double(), key.double(), value.double(), scale=0.5)
    assert torch.allclose(attention(query, key, value, scale=0.5).double(), exact, atol=0.1)
    assert not torch.allclose(attention(query, key, value).double(), exact, atol=0.1)


TELLING = torch.ones(3, 1, 17, 17, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    "changed",
    [
        {"query": drawn(size=30)[0], "key": drawn(size=30)[1]},  # exponentials beyond any number
        {"attn_mask": TELLING},
        {"attn_mask": TELLING.bfloat16()},
        {"attn_mask": torch.zeros(3, 1, 17, 17, dtype=torch.bool)},  # nothing is seen at all
        {"is_causal": True},
        {"key": drawn(heads=2)[1], "value": drawn(heads=2)[2], "enable_gqa": True},
        {"query": drawn(tokens=5)[0]},
    ],
    ids=["scores too great", "causal mask", "added mask", "nothing seen", "causal", "grouped heads", "fewer questions"],
)
def test_what_does_not_suit_is_left_to_torch(changed):
    query, key, value = drawn()
    asked = {"query": query, "key": key, "value": value, **changed}
    assert torch.allclose(attention(**asked), scaled_dot_product_attention(**asked), equal_nan=True, atol=0, rtol=0)


def test_other_types_and_long_texts_are_left_to_torch(monkeypatch):
    exact = [each.float() for each in drawn()]
    assert torch.equal(attention(*exact), scaled_dot_product_attention(*exact))
    monkeypatch.setattr(module, "SCORES_MAX", 3 * 4 * 17 * 17 - 1)
    assert torch.equal(attention(*drawn()), scaled_dot_product_attention(*drawn()))


def test_models_find_it_within_the_block_alone():
    ours, theirs = attention(*drawn()), scaled_dot_product_attention(*drawn())
    assert not torch.equal(ours, theirs)
    with QuickAttention():
        assert torch.equal(torch.nn.functional.scaled_dot_product_attention(*drawn()), ours)
    assert torch.equal(torch.nn.functional.scaled_dot_product_attention(*drawn()), theirs)


@pytest.mark.parametrize(
    ("precision", "amx", "layers"), [("bfloat16", False, 6), ("bfloat16", True, 0), ("float32", False, 0)]
)
def test_a_model_in_bfloat16_uses_it_where_it_pays(monkeypatch, precision, amx, layers):
    seen = []
    product = torch.bmm  # torch's own attention does not go through it
    monkeypatch.setattr(torch, "bmm", lambda *given: seen.append(1) or product(*given))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    load_model(ModelSettings(name="package:all-MiniLM-L6-v2", device="cpu"), precision).embed(["bread and", "a stone"])
    assert len(seen) == 3 * layers
