"""Relevance computed plainly, apart from the product."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np

from embedshift.stores.model import Hit

#: Cranfield with WordLlama (old) and MiniLM (new), by exact search over float32 vectors (FACTS.md).
REFERENCE = {
    "old": {"ndcg@10": 0.2850, "recall@10": 0.3284},
    "new": {"ndcg@10": 0.3565, "recall@10": 0.4160},
}


def ids_of(hits: Sequence[Hit]) -> list[str]:
    return [str(uuid.UUID(bytes=hit.values["id"])) for hit in hits]


def ndcg(relevant: dict[str, int], ranked: list[str]) -> float:
    def gained(grades: list[int]) -> float:
        return sum(grade / np.log2(rank + 2) for rank, grade in enumerate(grades))

    return gained([relevant.get(id_, 0) for id_ in ranked]) / gained(sorted(relevant.values(), reverse=True)[:10])


def share_found(relevant: dict[str, int], ranked: list[str]) -> float:
    right = {id_ for id_, grade in relevant.items() if grade > 0}
    return len(right & set(ranked)) / len(right)
