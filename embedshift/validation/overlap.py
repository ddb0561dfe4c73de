"""How much two rankings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.validation.relevance import resampled_means

#: How patient the reader of a ranking is assumed to be: the first ten answers have 86 % of the weight.
PERSISTENCE = 0.9


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its bootstrap interval; NaN if there was nothing to average."""

    mean: float
    low: float
    high: float


def mean_of(values: Sequence[float], *, seed: int, confidence: float, resamples: int = 10_000) -> Mean:
    """The mean of one value per question, with the percentile interval of the bootstrap over questions."""
    if not values:
        return Mean(float("nan"), float("nan"), float("nan"))
    each: NDArray[np.float64] = np.array(values, np.float64)
    means = resampled_means(each, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Mean(float(each.mean()), float(low), float(high))


def overlap(one: Sequence[str], other: Sequence[str], k: int) -> float:
    """The share of the first ``k`` answers that both rankings have; 1 if both are empty."""
    most = min(k, max(len(one), len(other)))
    return len({*one[:k]} & {*other[:k]}) / most if most else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], p: float = PERSISTENCE) -> float:
    """Rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010, equation 32, of rankings of equal depth).

    Rankings are cut to the length of the shorter one; the result is 1 if both are empty, 0 if one is.

    Args:
        p: the probability that a reader goes on to the next answer.
    """
    depth = min(len(one), len(other))
    if depth == 0:
        return 1.0 if len(one) == len(other) else 0.0
    shared = [len({*one[:d]} & {*other[:d]}) for d in range(1, depth + 1)]
    ranks = np.arange(1, depth + 1)
    agreed = np.array(shared) / ranks
    return float(agreed[-1] * p**depth + (1 - p) / p * (agreed * p**ranks).sum())
