"""Measures of relevance computed plainly, apart from the product's."""

from __future__ import annotations

import numpy as np


def ndcg(relevant: dict[str, int], ranked: list[str]) -> float:
    def gained(grades: list[int]) -> float:
        return sum(grade / np.log2(rank + 2) for rank, grade in enumerate(grades))

    return gained([relevant.get(id_, 0) for id_ in ranked]) / gained(sorted(relevant.values(), reverse=True)[:10])


def share_found(relevant: dict[str, int], ranked: list[str]) -> float:
    right = {id_ for id_, grade in relevant.items() if grade > 0}
    return len(right & set(ranked)) / len(right)
