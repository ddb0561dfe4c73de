"""Records of validations, as the catalog keeps them: one with every part, and the bare one of an older version."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

#: What an article, a question or an id may hold. Nothing of it may ever act.
HOSTILE = (
    "<script>alert('x')</script><img src=x onerror=alert(1)>|`[a](javascript:alert(1))` @everyone https://evil.test"
)

_CHECKS = ("rows", "missing", "orphans", "stale", "recall_at_10", "relevance_ndcg_at_10")


def bare_record(**changes: Any) -> dict[str, Any]:
    """A record with checks only, all passed."""
    checks = [
        {"name": name, "value": 0, "limit": 0, "passed": True, "denominator": 216, "note": ""} for name in _CHECKS
    ]
    checks[4] |= {"value": 0.9997, "limit": 0.95}
    record = {"passed": True, "checks": checks, "migration": "articles-to-articles_v2", "relevance": None}
    return {**record, **changes}


def failed_record(*names: str, **changes: Any) -> dict[str, Any]:
    """The same with some checks failed."""
    record = bare_record(passed=False, **changes)
    for check in record["checks"]:
        check["passed"] = check["name"] not in names
    return record


def full_record(text: str = "my windows drip in the morning", name: str = "a1") -> dict[str, Any]:
    """A record with every part, made from a seed.

    Args:
        text: of every question.
        name: of the first article found.
    """
    random = np.random.default_rng(7)
    questions = 60
    old = random.choice([0, 0.39, 0.5, 0.63, 1], questions, p=[0.35, 0.15, 0.15, 0.1, 0.25])
    new = np.clip(old + random.choice([-0.4, 0, 0.3, 0.6], questions), 0, 1)
    ids = [f"q{at}" for at in range(questions)]
    record = bare_record(
        started_us=1_790_000_000_000_000,
        made_us=1_790_000_060_000_000,
        content="5f0c",
        questions=questions,
        models={"old": "package:wordllama-l2-256", "new": "package:all-MiniLM-L6-v2"},
        counts={"source_rows": 216, "target_rows": 216},
        timings={"survey": 3.2, "recall": 0.4, "relevance": 12.5, "reembedding_differs": 100.0},
        examples={"missing": [{"id": name}], "stale": []},
        intervals={
            "recall@1": {"low": 0.97, "high": 1.0, "probes": 360, "confidence": 0.95},
            "recall@10": {"low": 0.9984, "high": 1.0, "probes": 360, "confidence": 0.95},
            "recall@100": {"low": 0.981, "high": 0.993, "probes": 360, "confidence": 0.95},
        },
        relevance={
            "old": {"ndcg@10": float(old.mean())},
            "new": {"ndcg@10": float(new.mean())},
            "difference": {"ndcg@10": _difference(float((new - old).mean()))},
            "questions": questions,
            "unanswerable": ["q99"],
            "lost_most": [_lost(f"q{at}", text, name) for at in range(3)],
            "per_question": {"ids": ids, "texts": [text] * questions, "old": old.tolist(), "new": new.tolist()},
        },
        latency={
            "old": {"1": _latency(random, 3.0), "8": _latency(random, 9.0)},
            "new": {"1": _latency(random, 4.0), "8": _latency(random, 14.0)},
            "ratio_p95": {"1": 1.33, "8": 1.55},
        },
        lengths={
            "edges": list(range(0, 330, 10)),
            "counts": random.integers(0, 40, 32).tolist(),
            "max_length": 256,
            "cut": 12,
            "of": 216,
            "sampled": False,
        },
        projection={
            "old": _points(random, 0.3),
            "new": _points(random, 1.2),
            "explained": {"old": 0.12, "new": 0.19},
        },
        shadow={
            "searches": 290,
            "dropped": 4,
            "failed": 0,
            "overlap@10": {"mean": 0.41, "low": 0.38, "high": 0.44},
            "rbo": {"mean": 0.46, "low": 0.43, "high": 0.49},
            "latency": {"old": _latency(random, 3.0), "new": _latency(random, 5.0)},
            "from_us": 1_790_000_000_000_000,
            "to_us": 1_790_000_060_000_000,
        },
        throughput={
            "edges_s": list(range(13)),
            "rows_per_s": [10, 18, 22, 21, 20, 23, 0, 0, 19, 22, 21, 18],
            "rows": 216,
            "ranges": 12,
            "seconds": 12.0,
            "rows_per_s_mean": 18.0,
            "from_us": 1_790_000_000_000_000,
        },
        space={"old": _space(256), "new": _space(384)},
        tables={
            "old": {"table": "articles", "model": "package:wordllama-l2-256", "dimension": 256, "fingerprint": "0a"},
            "new": {"table": "articles_v2", "model": "package:all-MiniLM-L6-v2", "dimension": 384, "fingerprint": "1b"},
        },
        settings={"alias": "articles", "load": {"ranges": "auto"}, "store": {"credentials_file": "/secret/place"}},
        titles={name: text},
    )
    return {**record, "recall@1": 0.99, "recall@10": 0.9997, "recall@100": 0.987}


def without_labels(**changes: Any) -> dict[str, Any]:
    """The full record as it is where there are no labelled questions."""
    record = copy.deepcopy(full_record())
    record["relevance"] = None
    record["unlabelled"] = {
        "kind": "titles",
        "questions": 100,
        "old": {"ndcg@10": 0.8},
        "new": {"ndcg@10": 0.7},
        "difference": {"ndcg@10": _difference(-0.1)},
        "overlap@10": {"mean": 0.5, "low": 0.45, "high": 0.55},
        "rbo": {"mean": 0.55, "low": 0.5, "high": 0.6},
        "self_retrieval": {"old": 0.9, "new": 0.95, "probes": 100},
    }
    return {**record, **changes}


def _difference(mean: float) -> dict[str, Any]:
    return {
        "mean": mean,
        "low": mean - 0.06,
        "high": mean + 0.06,
        "p_value": 0.0001,
        "wins": 30,
        "losses": 10,
        "ties": 20,
        "confidence": 0.95,
    }


def _lost(id_: str, text: str, name: str) -> dict[str, Any]:
    return {
        "id": id_,
        "text": text,
        "old": 1.0,
        "new": 0.31,
        "old_results": [name, *(f"9b5c64ea-892c-563d-9f37-21903cb03b{at:02}" for at in range(9))],
        "new_results": [f"22b49c3b-6f62-5de0-89f2-526225ba7a{at:02}" for at in range(10)],
    }


def _latency(random: np.random.Generator, typical_ms: float) -> dict[str, Any]:
    times = np.quantile(random.lognormal(np.log(typical_ms), 0.4, 500), np.linspace(0, 1, 101))
    return {
        "searches": 500,
        "p50_ms": float(times[50]),
        "p95_ms": float(times[95]),
        "p99_ms": float(times[99]),
        "quantiles_ms": times.tolist(),
    }


def _points(random: np.random.Generator, apart: float) -> list[list[Any]]:
    subjects = [f"subject {at % 10}" for at in range(200)]
    return [
        [float(apart * np.cos(at % 10) + x), float(apart * np.sin(at % 10) + y), subjects[at]]
        for at, (x, y) in enumerate(random.normal(0, 0.3, (200, 2)))
    ]


def _space(dimension: int) -> dict[str, Any]:
    return {
        "rows": 216,
        "dimension": dimension,
        "table_bytes": 216 * dimension * 4,
        "index_bytes": 216 * dimension * 3,
        "measured": True,
        "note": "",
    }


def trial_record(text: str = "all-MiniLM-L6-v2") -> dict[str, Any]:
    """A trial of three candidates, named by a text; one is worse, one costs money."""

    def candidate(name: str, mean: float, verdict: str, **more: Any) -> dict[str, Any]:
        change = {"mean": mean, "low": mean - 0.03, "high": mean + 0.03}
        return {
            "model": name,
            "dimension": 1024,
            "bytes_per_row": 5200,
            "cut": 0.012,
            "faults": 0,
            "texts_per_s": 81.3,
            "hours": 3412.5,
            "cost": None,
            "ndcg@10": 0.31 + mean,
            "recall@10": 0.4,
            "mrr@10": 0.5,
            "differences": {"ndcg@10": change},
            "verdict": verdict,
            "detectable": 0.031,
            **more,
        }

    return {
        "alias": "articles",
        "table": "articles",
        "rows": 1_000_000_000,
        "made_us": 1_796_098_792_633_003,
        "seed": 7,
        "sample": {"labelled": 830, "drawn": 5000, "weight": 199_999.8},
        "questions": {"kind": "labels", "number": 225, "left_out": 3},
        "live": {
            "model": text,
            "dimension": 384,
            "bytes_per_row": 2200,
            "ndcg@10": 0.31,
            "recall@10": 0.36,
            "mrr@10": 0.44,
        },
        "candidates": [
            candidate(f"{text} large", 0.06, "better", cost=1234.5),
            candidate(f"{text} small", -0.05, "worse", cut=None),
            candidate(f"{text} other", 0.01, "no difference seen", detectable=None),
        ],
    }
