"""The record of a validation: what ``validate --json`` prints and the catalog keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from jobs.quality.checks import Check
from jobs.quality.findings import Survey
from jobs.quality.recall import Recall
from jobs.quality.relevance import Relevance


def record(
    checks: Sequence[Check],
    survey: Survey,
    recalls: Sequence[Recall],
    relevance: Relevance | None,
    *,
    timings: Mapping[str, float] | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that was found, as plain JSON; what is not a number is null.

    Args:
        recalls: at any depths; each becomes a key such as ``recall@10``.
        timings: seconds of each part.
        more: further keys, such as tables and models.
    """
    tree = {
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        **{f"recall@{each.k}": each.value for each in recalls},
        "relevance": _relevance(relevance),
        "intervals": {f"recall@{each.k}": _interval(each) for each in recalls},
        "counts": survey.counts,
        "examples": {kind: list(keys) for kind, keys in survey.examples.of.items()},
        "content": survey.content.text,
        "timings": dict(timings or {}),
        **(more or {}),
    }
    plain: dict[str, Any] = _plain(tree)
    return plain


def _interval(recall: Recall) -> dict[str, Any]:
    found = {"low": recall.low, "high": recall.high, "probes": recall.probes, "confidence": recall.confidence}
    return {**found, "note": recall.note} if recall.note else found


def _relevance(relevance: Relevance | None) -> dict[str, Any] | None:
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
