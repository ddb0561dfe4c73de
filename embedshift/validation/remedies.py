"""What to do when a check of a validation fails: one line each, as docs/validation.md says it at more length."""

from __future__ import annotations

from collections.abc import Sequence

_SYNC = "run embedshift sync"
_SOMEBODY = "something else writes to the target: find it, then run embedshift sync --set sync.inspect=true"
_MODEL = "the model or its precision makes such vectors: migrate again with load.precision float32"
REMEDIES = {
    "rows": "see missing and orphans",
    "missing": f"{_SYNC}; rows that stay away are hidden by newer deletions, or dead letters",
    "columns": "they were added after prepare: embedshift abort, and migrate again",
    "orphans": "make sure that nothing else writes to the target, and run embedshift sync",
    "stale": _SYNC,
    "older_cells": f"{_SYNC}; what stays was written to the target by others: write those rows again in the source",
    "unproved": f"{_SYNC} and validate again, or allow more in validation.unproved",
    "without_vector": f"{_SYNC} --set sync.inspect=true, and look at embedshift dead-letters list",
    "mixed": _SOMEBODY,
    "finite": _MODEL,
    "unit_norm": _SOMEBODY,
    "dimension": _SOMEBODY,
    "duplicates": "texts may differ only behind the model's maximum length; otherwise suspect the model",
    "truncated": "cut articles into parts, or choose a model that reads more",
    "reembedding_differs": "workers ran another model, or another version of its library: do not switch",
    "dead_letters": f"fix these rows (embedshift dead-letters list) and {_SYNC}",
    "index_rows": f"{_SYNC}, wait, and validate again",
    "index_recent": "run embedshift index --rebuild, sync, and validate again",
    "recall_at_10": "migrate again with more connections, or a wider expansion_search",
    "relevance_ndcg_at_10": "worse: keep the old model, or look at prompts and template; too few questions: label more",
    "overlap_at_10": "look at what the new model finds instead (embedshift report)",
    "self_retrieval": "look at the query prompt of the new model",
    "titles_ndcg_at_10": "look at prompts and template, or label questions to be sure",
    "latency_ratio": "a smaller model, a coarser quantization, or a narrower expansion_search",
}


def remedies(failed: Sequence[str]) -> str:
    """What to do about some checks, by their names: each remedy once."""
    return "; ".join(dict.fromkeys(REMEDIES[name] for name in failed if name in REMEDIES))
