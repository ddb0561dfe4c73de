"""The verdict in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Below this, two means are the same to three decimals.
_SAME = 0.0005


def verdict(record: Mapping[str, Any]) -> str:
    """Whether the target may be switched to, by how many checks, and what became of relevance."""
    checks = record.get("checks") or []
    failed = [str(check["name"]) for check in checks if not check["passed"]]
    if record.get("passed"):
        head = f"{new_table(record)} may be switched to: {len(checks)} of {len(checks)} checks passed"
    else:
        head = (
            f"{new_table(record)} must not be switched to: {len(failed)} of {len(checks)} checks failed"
            f" ({', '.join(failed)})"
        )
    return f"{head}; {_relevance(record)}"


def new_table(record: Mapping[str, Any]) -> str:
    """The name of the table that was validated, as far as the record knows it."""
    named = ((record.get("endpoints") or {}).get("new") or {}).get("table")
    return str(named or str(record.get("migration") or "").partition("-to-")[2] or "the new table")


def _relevance(record: Mapping[str, Any]) -> str:
    labelled, weaker = record.get("relevance"), record.get("weaker")
    if labelled and labelled.get("difference"):
        return _moved(labelled, "ndcg@10", "nDCG@10")
    if weaker and weaker.get("difference"):
        measure = "ndcg@10" if "ndcg@10" in weaker["difference"] else next(iter(weaker["difference"]))
        kind = f" ({weaker.get('kind') or 'without labels'} as questions)"
        return _moved(weaker, measure, measure.replace("ndcg", "nDCG") + kind)
    if labelled:
        return "relevance could not be judged: the table has no article of any question"
    return "relevance was not measured: there are no labelled questions"


def _moved(judged: Mapping[str, Any], measure: str, name: str) -> str:
    change = judged["difference"][measure]
    old, new = judged["old"][measure], judged["new"][measure]
    confidence = f"{(change.get('confidence') or 0.95) * 100:g} %"
    interval = f"({change['mean']:+.3f}, {confidence} {change['low']:.2f} to {change['high']:.2f})"
    if abs(change["mean"]) < _SAME:
        return f"{name} stayed at {new:.3f} {interval}"
    return f"{name} {'rose' if change['mean'] > 0 else 'fell'} from {old:.3f} to {new:.3f} {interval}"
