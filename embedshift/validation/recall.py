"""Recall@k of an index against exact search, judged by similarity: rows at the same distance are equally good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.errors import InputError, SchemaError
from embedshift.stores.contract import Store
from embedshift.stores.model import NO_CONDITION, Index
from embedshift.validation.exact_knn import Neighbours, exact_scores
from embedshift.validation.table_pair import Subject, hit_key

#: Similarities whose relative difference is below this count as equal: float32 cannot tell them apart.
_TIE = 1e-5


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall@k with its confidence interval.

    Args:
        k: the depth.
        value: the mean over the probes, NaN without any.
        low, high: the Wilson interval at ``confidence``, wider if the hits of one probe depend on each other.
        probes: how many were searched for.
        worst: the positions of the probes with the lowest recall, worst first.
        note: why there is no value, if the store gave no answer.
    """

    k: int
    value: float
    low: float
    high: float
    probes: int
    confidence: float = 0.95
    worst: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The index's answer for one probe: keys, and the exact similarity of each, computed from the rows' own vectors."""

    keys: tuple[bytes, ...]
    scores: tuple[float, ...]


def search_index(
    store: Store,
    subject: Subject,
    index: Index,
    probes: NDArray[np.float32],
    k: int,
    where: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[Found]:
    """Search the index for the neighbours of each probe (shape (n, dimension)), one after another.

    The similarities are computed again from the vectors of the table, because an index may use rounded vectors.
    ``where`` has the condition of each search.
    """
    conditions = where or [NO_CONDITION] * len(probes)
    return (_search(store, subject, index, probe, k, only) for probe, only in zip(probes, conditions, strict=True))


def _search(
    store: Store, subject: Subject, index: Index, probe: NDArray[np.float32], k: int, where: Mapping[str, Any]
) -> Found:
    hits = store.search(subject.target, index, probe, k, values=[subject.target_vector], where=where)
    if not hits:
        return Found((), ())
    vectors = np.array([hit.values[subject.target_vector] for hit in hits], np.float32)
    scores = exact_scores(subject.metric, probe, vectors)
    return Found(tuple(hit_key(subject.target, hit.values) for hit in hits), tuple(scores.tolist()))


def measured_recall(
    store: Store,
    subject: Subject,
    index: Index,
    nearest: Neighbours,
    k: int,
    *,
    own: Sequence[bytes | None],
    confidence: float,
    where: Sequence[Mapping[str, Any]] | None = None,
) -> Recall:
    """Recall@k of searches for k results: an index that is asked for more searches further, and finds more.

    A probe that is itself a row is asked for one more result. If the store refuses that many, the note says why.
    ``where`` has the condition of each search, under which its neighbours were determined.
    """
    found = search_index(store, subject, index, nearest.probes, k + 1, where)
    try:
        return recall_at(nearest, found, k, own=own, confidence=confidence)
    except (InputError, SchemaError) as refused:
        nothing = float("nan")
        return Recall(k, nothing, nothing, nothing, 0, confidence, note=refused.what)


def recall_at(
    nearest: Neighbours,
    found: Iterable[Found],
    k: int,
    *,
    own: Sequence[bytes | None] | None = None,
    confidence: float = 0.95,
) -> Recall:
    """Compare what an index found with the exact neighbours.

    A result counts if its exact similarity reaches that of the k-th exact neighbour.

    Args:
        nearest: the exact neighbours of n probes.
        found: n answers of the index, with at least ``k`` results each, ``k + 1`` if ``own`` is given.
        k: the depth; for a probe with fewer exact neighbours, all of them.
        own: n keys of the rows from which the probes were taken. That a row finds itself proves little, so it is
            left out on both sides.
        confidence: the confidence of the interval.
    """
    scores, keys = nearest.ranked()
    shares: dict[int, float] = {}
    wanted = 0
    for at, answer in enumerate(found):
        mine = own[at] if own is not None else None
        exact = [score for score, key in zip(scores[at], keys[at], strict=True) if np.isfinite(score) and key != mine]
        depth = min(k, len(exact))
        if depth:
            wanted += depth
            shares[at] = _hits(answer, float(exact[depth - 1]), depth, mine) / depth
    return _recall(shares, wanted, k, confidence)


def _hits(answer: Found, least: float, depth: int, mine: bytes | None) -> int:
    allowed = least - _TIE * max(1.0, abs(least))
    first = [(key, score) for key, score in zip(answer.keys, answer.scores, strict=True) if key != mine][:depth]
    return len({key for key, score in first if score >= allowed})


def _recall(shares: dict[int, float], wanted: int, k: int, confidence: float) -> Recall:
    if not shares:
        return Recall(k, float("nan"), float("nan"), float("nan"), 0, confidence)
    values = np.array(list(shares.values()), np.float64)
    low, high = wilson(float(values.mean()), _independent(values, wanted), confidence)
    worst = sorted((place for place, share in shares.items() if share < 1), key=shares.__getitem__)
    return Recall(k, float(values.mean()), low, high, len(shares), confidence, tuple(worst[:10]))


def _independent(shares: NDArray[np.float64], wanted: int) -> float:
    """How many independent trials the hits equal: hits of one probe are not independent (Kish's design effect)."""
    value, probes = float(shares.mean()), len(shares)
    if probes < 2 or value in (0.0, 1.0):
        return float(wanted)
    spread = float(shares.var(ddof=1)) / probes
    return float(np.clip(value * (1 - value) / spread, probes, wanted)) if spread else float(wanted)


def wilson(share: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share of that many independent trials."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    # At 0 and 1 the interval must include the end; rounding must not move it inside.
    return 0.0 if share == 0 else float(centre - half), 1.0 if share == 1 else float(centre + half)
