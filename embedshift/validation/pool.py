"""How well a model would answer, judged on a part of a table: every labelled article, and others drawn from the rest.

Each article that was drawn stands for as many of the table as were not: where it is nearer to a question than a right
answer, so many articles are. Without that, a small sample would flatter every model, because it lacks what a right
answer has to beat. The differences between models hardly depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.validation.exact_knn import comparable
from embedshift.validation.questions import Question
from embedshift.validation.table_pair import Metric

#: The measures of a trial, and how deep they look.
TRIAL_MEASURES = ("ndcg@10", "recall@10", "mrr@10")
_DEPTH = 10
#: Quantiles of the normal distribution: a two-sided test at 5 %, and 80 of 100 times.
_TWO_SIDED, _POWER = 1.96, 0.84


@dataclass(frozen=True, slots=True)
class Pool:
    """Articles among which questions are answered.

    Args:
        ids: n ids as questions have them; several rows of one id are one article.
        drawn: shape (n,): whether it was drawn; the others are labelled.
        weight: articles of the table for which a drawn one stands, at least 1.
    """

    ids: Sequence[str]
    drawn: NDArray[np.bool_]
    weight: float


def judge_pool(
    pool: Pool,
    vectors: NDArray[np.float32],
    questions: Sequence[Question],
    asked: NDArray[np.float32],
    metric: Metric,
) -> dict[str, NDArray[np.float64]]:
    """Answer every question exactly, and compare with the labels.

    Args:
        vectors: shape (n, dimension), of the pool's articles; one that is not finite or zero is never found.
        questions: labelled, at least one.
        asked: shape (questions, dimension).
        metric: of the index.

    Returns:
        For each of ``TRIAL_MEASURES`` one value per question, as ir_measures defines them: shape (questions,).
    """
    usable = comparable(metric, vectors)
    place: dict[str, list[int]] = {}
    for at, id_ in enumerate(pool.ids):
        if usable[at]:
            place.setdefault(id_, []).append(at)
    counted = np.where(pool.drawn, pool.weight, 1.0) * usable
    values = {name: np.zeros(len(questions)) for name in TRIAL_MEASURES}
    for number, question in enumerate(questions):
        scores = _scores(metric, vectors, asked[number])
        found = {
            id_: _rank(scores, counted, max(place[id_], key=scores.__getitem__))
            for id_, grade in question.relevant.items()
            if grade > 0 and id_ in place
        }
        for name, value in _measured(question.relevant, found).items():
            values[name][number] = value
    return values


def _scores(metric: Metric, vectors: NDArray[np.float32], question: NDArray[np.float32]) -> NDArray[np.float64]:
    if metric == "euclidean":
        distances: NDArray[np.float64] = np.square(vectors.astype(np.float64) - question).sum(axis=1)
        return -distances
    products: NDArray[np.float64] = (vectors @ question).astype(np.float64)
    if metric == "dot_product":
        return products
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float64)
    cosines: NDArray[np.float64] = np.divide(products, lengths, out=np.full(len(products), -np.inf), where=lengths > 0)
    return cosines


def _rank(scores: NDArray[np.float64], counted: NDArray[np.float64], at: int) -> float:
    """The rank of an article among those that are counted; of two with the same score the first is ranked first."""
    before = (scores > scores[at]) | ((scores == scores[at]) & (np.arange(len(scores)) < at))
    return 1.0 + float(counted[before].sum())


def _measured(relevant: Mapping[str, int], found: Mapping[str, float]) -> dict[str, float]:
    """NDCG with grades as gains, recall and reciprocal rank, of the first ten."""
    right = [grade for grade in relevant.values() if grade > 0]
    ideal = sum(grade / np.log2(rank + 1) for rank, grade in enumerate(sorted(right, reverse=True)[:_DEPTH], 1))
    near = {id_: rank for id_, rank in found.items() if rank <= _DEPTH}
    gained = sum(relevant[id_] / np.log2(rank + 1) for id_, rank in near.items())
    return {
        "ndcg@10": float(gained / ideal),
        "recall@10": len(near) / len(right),
        "mrr@10": 1 / min(near.values()) if near else 0.0,
    }


def detectable(change: NDArray[np.float64]) -> float:
    """The smallest mean difference that so many questions would show in 80 of 100 trials, with a test at 5 %.

    Args:
        change: one difference per question, shape (n,); their scatter decides. Infinite if there is none: with a
            single question, or if all were answered equally well by both.
    """
    scatter = float(change.std(ddof=1)) if len(change) > 1 else 0.0
    return (_TWO_SIDED + _POWER) * scatter / float(np.sqrt(len(change))) if scatter else float("inf")
