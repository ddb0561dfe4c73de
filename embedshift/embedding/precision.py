"""The number type in which the layers compute: the fastest that agrees with float32."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from embedshift.embedding.contract import Model, Precision
from embedshift.embedding.loading import load_model
from embedshift.embedding.local import LocalModel
from embedshift.settings import ModelSettings

#: Minimum mean cosine between a candidate's vectors and float32's on a sample.
AGREEMENT = 0.999
#: Weights of layers from which a lower precision can matter: below, a text takes less time than what surrounds it.
WEIGHTS_MIN = 1_000_000
#: How much faster a candidate must be to be chosen, so that noise does not decide.
GAIN = 1.2


def choose_precision(settings: ModelSettings, sample: Sequence[str]) -> Precision:
    """The fastest precision that this machine computes natively and whose vectors agree with float32 on a sample.

    The choice is part of the model's fingerprint, so ``prepare`` makes it once and records it.

    Args:
        settings: the model.
        sample: some dozens of the table's own texts; if there are none, float32 is chosen.
    """
    exact = load_model(settings, "float32")
    candidate = _native(exact) if isinstance(exact, LocalModel) else None
    if candidate is None or not sample:
        return "float32"
    fast = load_model(settings, candidate)
    exact_seconds, exact_vectors = _timed(exact, sample)
    fast_seconds, fast_vectors = _timed(fast, sample)
    scale = np.linalg.norm(exact_vectors, axis=1) * np.linalg.norm(fast_vectors, axis=1)
    cosine = np.einsum("ij,ij->i", exact_vectors, fast_vectors) / np.where(scale == 0, 1, scale)
    agrees = float(cosine[scale > 0].mean()) >= AGREEMENT if (scale > 0).any() else False
    return candidate if agrees and exact_seconds >= GAIN * fast_seconds else "float32"


def _native(model: LocalModel) -> Precision | None:
    if model.layer_weights < WEIGHTS_MIN:
        return None
    if model.device.startswith("cuda"):
        return "float16"
    import torch

    from embedshift.embedding.attention import has_amx

    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() or has_amx()
    return "bfloat16" if model.device == "cpu" and native else None


def _timed(model: Model, sample: Sequence[str]) -> tuple[float, np.ndarray]:
    model.embed(sample[:2])
    started = time.perf_counter()
    vectors = model.embed(sample).vectors
    return time.perf_counter() - started, vectors
