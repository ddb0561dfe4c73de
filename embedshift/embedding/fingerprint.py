"""The fingerprint of a loaded model: two models with the same fingerprint give a text the same vector."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xxhash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def fingerprint_of(network: SentenceTransformer, **choices: object) -> str:
    """Hash weights, tokeniser, layers and the choices that affect a document's vector (prompt, length, precision).

    It is computed from memory, not from files, and must be taken before weights are cast.

    Returns:
        32 hexadecimal digits.
    """
    state = xxhash.xxh3_128()
    for name, tensor in sorted(network.state_dict().items()):
        state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        state.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    state.update(json.dumps(_tokenizer(network), sort_keys=True).encode())
    for module in network:
        describe = getattr(module, "get_config_dict", dict)
        config = cast(Callable[[], object], describe)()
        state.update(f"{type(module).__name__} {json.dumps(config, sort_keys=True, default=str)}".encode())
    state.update(json.dumps(choices, sort_keys=True, default=str).encode())
    return state.hexdigest()


def _tokenizer(network: SentenceTransformer) -> Any:
    tokenizer = network.tokenizer
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(inner, "to_str"):
        return sorted(tokenizer.get_vocab().items())
    described = json.loads(inner.to_str())
    # Both change with use: the library sets them again at each call.
    described.pop("truncation", None)
    described.pop("padding", None)
    return described
