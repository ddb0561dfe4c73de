"""Everything that a validation measures, in order, and its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.errors import ModelUnavailable
from embedshift.settings import ValidationSettings
from embedshift.stores.contract import Store
from embedshift.times import now_us
from embedshift.validation.checks import Allowed, Check, checks, indexable_rows
from embedshift.validation.exact_knn import Neighbours
from embedshift.validation.index_probe import lost_rows, settled_rows
from embedshift.validation.latency import Latency, latency, searcher
from embedshift.validation.partitions import nearest_in_partitions
from embedshift.validation.questions import Question, known_articles
from embedshift.validation.recall import Recall, measured_recall
from embedshift.validation.reembed import Reembedding, reembedding
from embedshift.validation.relevance import Relevance, SearchableTable, compare
from embedshift.validation.sample import Pairs, Sample, draw_sample, pairs_of, projection
from embedshift.validation.space import space_of
from embedshift.validation.survey_result import Survey
from embedshift.validation.table_pair import Subject
from embedshift.validation.truncation import lengths_of, tokens_of
from embedshift.validation.unlabelled import Unlabelled, unlabelled


def record(
    checks: Sequence[Check],
    survey: Survey,
    recalls: Sequence[Recall],
    relevance: Relevance | None,
    *,
    timings: Mapping[str, float] | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that was found, as plain JSON; NaN and infinity become null.

    Args:
        recalls: recall at any depths; each becomes a key such as ``recall@10``.
        timings: the seconds of each part.
        more: further keys, such as tables and models.
    """
    tree = {
        "passed": not any(check.passed is False for check in checks),
        "checks": [asdict(check) for check in checks],
        **{f"recall@{each.k}": each.value for each in recalls},
        "relevance": _relevance_record(relevance),
        "intervals": {f"recall@{each.k}": _interval(each) for each in recalls},
        "counts": survey.counts,
        "examples": {kind: list(keys) for kind, keys in survey.examples.of.items()},
        "content": survey.content.text,
        "sketch": survey.content.sketch,
        "timings": dict(timings or {}),
        **(more or {}),
    }
    plain: dict[str, Any] = _plain(tree)
    return plain


def _interval(recall: Recall) -> dict[str, Any]:
    found = {"low": recall.low, "high": recall.high, "probes": recall.probes, "confidence": recall.confidence}
    return {**found, "note": recall.note} if recall.note else found


def _relevance_record(relevance: Relevance | None) -> dict[str, Any] | None:
    if relevance is None:
        return None
    return {
        "old": dict(relevance.old),
        "new": dict(relevance.new),
        "difference": {name: asdict(each) for name, each in relevance.differences.items()},
        "questions": relevance.questions,
        "unanswerable": list(relevance.unanswerable),
        "per_question": dict(relevance.each),
        "lost_most": [dict(each) for each in relevance.lost_most],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value


#: How deep answers are judged, and the depths at which the index is compared with exact search.
DEPTH = 10
DEPTHS = (1, DEPTH, 100)
#: How many neighbours a survey must find for each probe: the deepest, and the probe's own row.
NEIGHBOURS = max(DEPTHS) + 1
#: Articles whose vectors are drawn as points, and searched for to measure latency.
_POINTS_MAX = 500
#: Surveys all rows, and finds the exact neighbours of probes of shape (n, dimension).
Surveyed = Callable[[NDArray[np.float32]], Survey]


@dataclass(frozen=True, slots=True)
class Case:
    """What is validated, and with which limits.

    Args:
        store: the store of both tables.
        subject: both tables, as this package describes them.
        old, new: the tables as they are asked questions.
        questions: labelled questions; may be empty.
        settings: samples and limits.
        dead_letters: how many rows could not be embedded or written.
        allowed: what is allowed of rows.
    """

    store: Store
    subject: Subject
    old: SearchableTable
    new: SearchableTable
    questions: Sequence[Question]
    settings: ValidationSettings
    dead_letters: Callable[[], int]
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    """The seconds of each part."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[part] = time.monotonic() - started


def examine(
    case: Case,
    surveyed: Surveyed,
    more: dict[str, Any] | None = None,
    *,
    rows_now: Callable[[], int] | None = None,
) -> dict[str, Any]:
    """Measure, check and make the record.

    Args:
        surveyed: surveys every row of both tables for the given probes, with ``NEIGHBOURS`` neighbours of each.
        more: further keys of the record.
        rows_now: counts the target's rows; it is asked if the index has fewer vectors than the survey.
    """
    store, settings, watch = case.store, case.settings, _Stopwatch()
    with watch("sample"):
        counted = tokens_of(case.new.model())
        also = [name for name in (case.new.id, case.subject.groups) if name is not None]
        sample = draw_sample(store, case.subject, settings.sample, settings.seed, counted, also=also)
        probes = sample.of_all_lengths(settings.probes, settings.seed)
        asked = [case.new.model().embed_question(question.text) for question in case.questions]
        vectors = np.concatenate([np.array(asked, np.float32).reshape(-1, case.subject.dimension), probes.vectors()])
    with watch("survey"):
        began_us = now_us()
        survey = surveyed(vectors)
        # Right after the survey: later, the index would include what the application has written or deleted since.
        index_rows, changed = store.index_state(case.new.index).rows, 0
        log_fed = store.write_floor(case.new.index.table) is not None
        if index_rows is not None and index_rows < indexable_rows(survey):
            changed = max(0, survey.target_rows - (rows_now() if rows_now else survey.target_rows))
        elif index_rows is not None and log_fed and index_rows > indexable_rows(survey):
            index_rows, changed = settled_rows(store, case.new.index, began_us, indexable_rows(survey))
        lost = len(lost_rows(store, case.new.index, survey.recent.batches)) if log_fed else None
    with watch("recall"):
        recalls = _recalls(case, survey.nearest, probes, len(asked))
    with watch("relevance"):
        relevance = _relevance(case)
        instead = None if case.questions else _unlabelled(case, probes)
    with watch("reembedding_differs"):
        agreed = _reembedding(case)
    pairs = pairs_of(store, sample.of_all_lengths(_POINTS_MAX, settings.seed))
    with watch("latency"):
        timed = _latency(case, pairs)
    longest = case.new.model().max_length
    lengths = counted and lengths_of(sample.lengths, longest, cut=survey.cut, of=survey.with_text)
    outcome = checks(
        survey,
        next(each for each in recalls if each.k == DEPTH),
        relevance,
        settings,
        case.dead_letters(),
        case.allowed,
        index_rows=index_rows,
        changed=changed,
        lost=lost,
        reembedding=agreed,
        lengths=lengths,
        unlabelled=instead,
        latency=timed,
        left_out=case.subject.left_out,
    )
    found: dict[str, Any] = {
        "unlabelled": instead and instead.tree(),
        "latency": timed and timed.tree(),
        "lengths": lengths and asdict(lengths),
        "space": {
            "old": asdict(space_of(store, case.old.index, survey.with_text)),
            "new": asdict(space_of(store, case.new.index, survey.vectors)),
        },
        "projection": projection(pairs) if len(pairs) else None,
    }
    measured = {key: value for key, value in found.items() if value is not None}
    return record(outcome, survey, recalls, relevance, timings=watch.seconds, more={**measured, **(more or {})})


def _recalls(case: Case, nearest: Neighbours, probes: Sample, questions: int) -> list[Recall]:
    """Recall at each depth, of the questions and the probes; of a local index, of the probes in their partitions."""
    own: list[bytes | None] = [*[None] * questions, *probes.keys()]
    where: list[dict[str, Any]] = [{}] * len(own)
    if case.new.index.partition:
        nearest = nearest_in_partitions(case.store, case.subject, probes, NEIGHBOURS)
        # One that is alone in its partition has nothing to find but itself.
        alone = ~np.isfinite(nearest.scores[:, 1])
        own = [None if single else key for single, key in zip(alone, probes.keys(), strict=True)]
        where = [case.new.index.within(row) for row in probes.key_rows()]
    found = partial(measured_recall, case.store, case.subject, case.new.index, nearest, own=own, where=where)
    return [found(k, confidence=case.settings.confidence) for k in DEPTHS]


def _reembedding(case: Case) -> Reembedding | None:
    wanted, seed = case.settings.reembed_sample, case.settings.seed
    return reembedding(case.store, case.subject, case.new.model(), wanted, seed) if wanted else None


def _relevance(case: Case) -> Relevance | None:
    if not case.questions:
        return None
    known = known_articles(case.store, case.subject.source, case.old.id, case.questions)
    old, new = (_answers(side, case.questions) for side in (case.old, case.new))
    return compare(case.questions, old, new, known=known, seed=case.settings.seed, confidence=case.settings.confidence)


def _answers(side: SearchableTable, questions: Sequence[Question]) -> dict[str, list[str]]:
    return {question.id: side.answers(question, DEPTH) for question in questions}


def _unlabelled(case: Case, sample: Sample) -> Unlabelled | None:
    if not case.old.searchable:
        return None
    try:
        case.old.model()
    except ModelUnavailable:  # the old model is only needed to compare
        return None
    return unlabelled(case.old, case.new, sample, seed=case.settings.seed, confidence=case.settings.confidence)


def _latency(case: Case, pairs: Pairs) -> Latency | None:
    searches = case.settings.latency_searches
    if not searches or not len(pairs) or not case.old.searchable:
        return None
    old = searcher(case.store, case.old.table, case.old.index, pairs.old, pairs.keys)
    new = searcher(case.store, case.new.table, case.new.index, pairs.new, pairs.keys)
    return latency(old, new, searches=searches, time_max_s=case.settings.latency_time.total_seconds())
