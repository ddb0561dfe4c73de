"""Relevance: the old and the new table answer labelled questions, and are compared question by question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding import Model
from embedshift.stores.contract import Store
from embedshift.stores.model import Hit, Index, Table
from embedshift.validation.questions import Question, article_id, condition_of

__all__ = [
    "MEASURES",
    "Difference",
    "Judged",
    "Question",
    "Relevance",
    "compare",
    "judge",
    "ranked_ids",
]
#: Names of the measures, as in reports; ir_measures computes each.
MEASURES = ("ndcg@10", "recall@10", "mrr@10", "success@1")
_EQUAL = 1e-9
#: Size of the bootstrap draws held at once: rows × questions.
_DRAWS_AT_ONCE = 2_000_000
_LOST_MOST = 10


@cache
def _measures() -> dict[str, Any]:
    from ir_measures import RR, R, Success, nDCG

    return dict(zip(MEASURES, (nDCG @ 10, R @ 10, RR @ 10, Success @ 1), strict=True))


@dataclass(frozen=True, slots=True)
class Judged:
    """How one table answered.

    Args:
        questions: the questions that were judged.
        answers: for each question, by its id, the ids of the articles found, best first.
        values: for each measure, by its name, one value per question: shape (questions,).
    """

    questions: tuple[Question, ...]
    answers: Mapping[str, Sequence[str]]
    values: Mapping[str, NDArray[np.float64]]

    def means(self) -> dict[str, float]:
        """The mean of each measure over the questions."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def ranked_ids(hits: Sequence[Hit], table: Table, id_column: str) -> list[str]:
    """The articles in a search's results, best first, each once."""
    column = table.column(id_column)
    cql_type = column.type if column is not None else "text"
    return list(dict.fromkeys(article_id(cql_type, hit.values[id_column]) for hit in hits))


def judge(questions: Sequence[Question], answers: Mapping[str, Sequence[str]]) -> Judged:
    """Compare answers with the labels.

    Args:
        questions: labelled questions, at least one.
        answers: for each question, by its id, the ids found, best first; a question that is missing found nothing.
    """
    import ir_measures

    labels = {question.id: dict(question.relevant) for question in questions}
    # Ranks as scores: the order that was shown is judged, even if scores were equal.
    runs = {
        question.id: {article: float(-rank) for rank, article in enumerate(answers.get(question.id, ()))}
        for question in questions
    }
    measures = _measures()
    place = {question.id: at for at, question in enumerate(questions)}
    values = {str(measure): np.zeros(len(questions)) for measure in measures.values()}
    for each in ir_measures.iter_calc(list(measures.values()), labels, runs):
        values[str(each.measure)][place[each.query_id]] = each.value
    return Judged(tuple(questions), answers, {name: values[str(measure)] for name, measure in measures.items()})


@dataclass(frozen=True, slots=True)
class Difference:
    """New minus old of one measure, question by question.

    Args:
        mean: the mean of the differences.
        low, high: the bootstrap's percentile interval at ``confidence``.
        p_value: the two-sided p-value of "no difference".
        wins, losses, ties: questions that the new table answers better, worse, equally well.
    """

    mean: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Relevance:
    """The relevance of both tables, and the difference.

    Args:
        old, new: the mean of each measure.
        differences: the difference of each measure.
        questions: how many were judged.
        unanswerable: ids of questions left out because the table has none of their articles.
        lost_most: the questions whose nDCG@10 fell most, with both lists of results.
        each: ids, texts, and old and new nDCG@10 of the questions, one value per question.
    """

    old: Mapping[str, float]
    new: Mapping[str, float]
    differences: Mapping[str, Difference]
    questions: int
    unanswerable: tuple[str, ...]
    lost_most: tuple[Mapping[str, Any], ...]
    each: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def compare(
    questions: Sequence[Question],
    old: Mapping[str, Sequence[str]],
    new: Mapping[str, Sequence[str]],
    *,
    known: set[str] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Relevance | None:
    """Compare the answers of two tables.

    Args:
        old, new: the answers as ``judge`` takes them.
        known: ids of the articles that the source has (``known_articles``). A question is left out if none of its
            articles is among them, because neither table can answer it. None if this is unknown.
        seed: seed of the bootstrap.
        resamples: draws of the bootstrap.
        confidence: confidence of the intervals.

    Returns:
        None if there are no questions; a result without figures if none of them can be answered.
    """
    fit = [question for question in questions if known is None or _answerable(question, known)]
    kept = {question.id for question in fit}
    unanswerable = tuple(question.id for question in questions if question.id not in kept)
    if not fit:
        return Relevance({}, {}, {}, 0, unanswerable, ()) if questions else None
    before, after = judge(fit, old), judge(fit, new)
    differences = {
        name: paired_difference(
            before.values[name], after.values[name], seed=seed, resamples=resamples, confidence=confidence
        )
        for name in MEASURES
    }
    lost, each = _lost_most(before, after), _each(before, after)
    return Relevance(before.means(), after.means(), differences, len(fit), unanswerable, lost, each)


def _each(old: Judged, new: Judged) -> dict[str, list[Any]]:
    return {
        "ids": [question.id for question in old.questions],
        "texts": [question.text for question in old.questions],
        "old": old.values["ndcg@10"].tolist(),
        "new": new.values["ndcg@10"].tolist(),
    }


def _answerable(question: Question, known: set[str]) -> bool:
    return any(grade > 0 and article in known for article, grade in question.relevant.items())


def _lost_most(old: Judged, new: Judged) -> tuple[Mapping[str, Any], ...]:
    before, after = old.values["ndcg@10"], new.values["ndcg@10"]
    change = after - before
    worst = [int(at) for at in np.argsort(change, kind="stable")[:_LOST_MOST] if change[at] < -_EQUAL]
    return tuple(
        {
            "id": old.questions[at].id,
            "text": old.questions[at].text,
            "old": float(before[at]),
            "new": float(after[at]),
            "old_results": list(old.answers.get(old.questions[at].id, ()))[:10],
            "new_results": list(new.answers.get(new.questions[at].id, ()))[:10],
        }
        for at in worst
    )


def paired_difference(
    old: NDArray[np.float64],
    new: NDArray[np.float64],
    *,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Difference:
    """The paired bootstrap over questions (Efron and Tibshirani 1993; for retrieval Sakai 2006).

    Args:
        old, new: one value per question, shape (n,) each, n at least 1.
        seed: the same seed gives the same interval.
    """
    change = new - old
    mean = float(change.mean())
    means = resampled_means(change, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    # Under "no difference" the means scatter around zero as they scatter here around their own mean.
    as_far = int(np.count_nonzero(np.abs(means - mean) >= abs(mean) - _EQUAL))
    wins, losses = int((change > _EQUAL).sum()), int((change < -_EQUAL).sum())
    p_value = (as_far + 1) / (resamples + 1)
    return Difference(mean, float(low), float(high), p_value, wins, losses, len(change) - wins - losses, confidence)


def resampled_means(change: NDArray[np.float64], random: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """The means of ``resamples`` draws of n values out of n, with repetition; shape (resamples,)."""
    means = np.empty(resamples)
    step = max(1, _DRAWS_AT_ONCE // len(change))
    for at in range(0, resamples, step):
        some = min(step, resamples - at)
        means[at : at + some] = change[random.integers(0, len(change), (some, len(change)))].mean(axis=1)
    return means


@dataclass(frozen=True, slots=True)
class SearchableTable:
    """A table with its index, the column that identifies its articles, and the model for questions.

    The model is loaded when it is first needed, because not every check needs it.
    """

    store: Store
    table: Table
    index: Index
    id: str
    model: Callable[[], Model]

    @property
    def searchable(self) -> bool:
        """Whether the table can be searched: a live table may have no index."""
        return self.store.index_state(self.index).status == "serving"

    def answers(self, question: Question, k: int) -> list[str]:
        """The articles that answer a question, best first, each once, from at most ``k`` rows found.

        Raises:
            InputError: the index is local, and the question does not say in which partition.
        """
        values = [] if any(key.name == self.id for key in self.table.keys) else [self.id]
        where = condition_of(question, self.table, self.index)
        vector = self.model().embed_question(question.text)
        hits = self.store.search(self.table, self.index, vector, k, values=values, where=where)
        return ranked_ids(hits, self.table, self.id)
