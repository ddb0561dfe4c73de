"""Exact neighbours of many questions among many vectors, compared with the necessary matrix product."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.pairs import Result, in_pairs
from embedshift.validation.exact_knn import Nearest

DIMENSION, K, BLOCK = 384, 100, 8192


def measure(*, quick: bool) -> list[Result]:
    """1,000 questions, the hundred nearest of each."""
    questions, rows, pairs = (1000, 100_000, 2) if quick else (1000, 1_000_000, 3)
    chance = np.random.default_rng(1)
    vectors = chance.standard_normal((rows, DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    probes = chance.standard_normal((questions, DIMENSION), np.float32)
    keys = [number.to_bytes(8, "big") for number in range(rows)]

    def ours() -> float:
        started = time.perf_counter()
        nearest = Nearest("dot_product", probes, K)
        for at in range(0, rows, BLOCK):
            nearest.update(vectors[at : at + BLOCK], keys[at : at + BLOCK])
        nearest.ranked()
        return rows / (time.perf_counter() - started)

    def product() -> float:
        started = time.perf_counter()
        for at in range(0, rows, BLOCK):
            np.dot(probes, vectors[at : at + BLOCK].T)
        return rows / (time.perf_counter() - started)

    rates, others = in_pairs(ours, product, pairs)
    name = f"exact neighbours, {questions:,} questions × {rows:,} vectors, k = {K}"
    return [Result(name, "numpy's product of the same blocks, nothing selected", "vectors/s", rates, others, 0.8)]
