"""Attention of short texts in bfloat16 on a CPU: two batched products and one pass over the scores between them.

torch's own kernel works block by block, which suits long texts; without AMX it takes about twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

#: Scores held at once: 16 MiB in bfloat16. Beyond that, blocks are better.
SCORES_MAX = 1 << 23
#: Sums of exponentials between these bounds lost nothing to overflow or underflow; bfloat16 has float32's range.
_LEAST, _GREATEST = 1e-30, 1e36


def has_amx() -> bool:
    """Whether this processor has AMX; with it torch's own attention is faster from 200 tokens on."""
    # torch has no public function for this yet; /proc/cpuinfo would tie us to Linux.
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


class QuickAttention(TorchFunctionMode):
    """Within the block, attention is computed by ``attention`` wherever a model asks torch for it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (attention if func is scaled_dot_product_attention else func)(*args, **(kwargs or {}))


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> torch.Tensor:
    """``torch.nn.functional.scaled_dot_product_attention``, left to torch if the quick way does not fit.

    The exponentials are not kept below one by subtracting the greatest score, as a softmax does; that saves a pass. If
    a sum of them shows that this was not safe, torch computes everything again.

    Args:
        query, key, value: shape (texts, heads, tokens, width). The quick way needs bfloat16 and the same shape for all.
        attn_mask: shape (texts or 1, 1, tokens, tokens), bool: True if a token may attend to the other. The quick way
            needs the same mask for every token of a text, as padding gives it.
    """
    suits = (
        query.dtype == torch.bfloat16
        and query.dim() == 4
        and query.shape == key.shape == value.shape
        and query.shape[:3].numel() * query.shape[2] <= SCORES_MAX
        and not (dropout_p or is_causal)
    )
    found = _quick(query, key, value, attn_mask, more.get("scale")) if suits else None
    if found is not None:
        return found
    return scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)


def _seen(mask: torch.Tensor) -> torch.Tensor | None:
    """Which tokens every token of a text attends to, shape (texts or 1, 1, tokens, 1); None if they differ."""
    if mask.dtype != torch.bool or mask.dim() != 4 or mask.shape[1] != 1:
        return None
    first = mask[:, :, :1]
    return first.transpose(2, 3) if bool((mask == first).all()) else None


def _quick(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float | None
) -> torch.Tensor | None:
    seen = query.new_ones(1, 1, query.shape[2], 1) if mask is None else _seen(mask)
    if seen is None:
        return None
    texts, heads, tokens, width = query.shape
    flat = (texts * heads, tokens, width)
    # A masked token counts as zero in both sums, so the scores need no mask.
    counted = seen.to(query.dtype)
    scaled = query * (width**-0.5 if scale is None else scale)
    weights = torch.bmm(scaled.reshape(flat), key.reshape(flat).transpose(1, 2)).exp_()
    total = torch.bmm(weights, counted.expand(texts, heads, tokens, 1).reshape(*flat[:2], 1))
    if not bool(((total > _LEAST) & (total < _GREATEST)).all()):
        return None
    return (torch.bmm(weights, (value * counted).reshape(flat)) / total).view(query.shape)
