"""The embedding stage alone, compared with ``SentenceTransformer.encode`` and with the processor's limit."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import numpy as np

from benchmarks.children import Work, children
from benchmarks.corpus import cranfield, log_normal, texts
from benchmarks.pairs import Result, in_pairs
from embedshift.embedding import Model, Precision, choose_precision, load_model, use_threads
from embedshift.embedding.packaged import load_packaged
from embedshift.settings import ModelSettings
from embedshift.spark.worker import keep_freed

MODEL = "package:all-MiniLM-L6-v2"
#: Tokens of the matrix products that measure the limit: as many as in one batch.
_TOKENS, _PRODUCTS = 1024, 40
#: Texts per window.
WINDOW = 1024


def measure(*, quick: bool) -> list[Result]:
    """Float32 and the precision that ``auto`` chooses, on each corpus; in a quick run only the latter, on one."""
    count, pairs = (40, 1) if quick else (120, 3)
    corpora = {"Cranfield": texts(cranfield(count)), "log-normal": texts(log_normal(count))}
    chosen = [(corpus, documents) for corpus, documents in corpora.items() if documents]
    results = []
    for corpus, documents in chosen[:1] if quick else chosen:
        automatic = choose_precision(ModelSettings(name=MODEL), documents[:64])
        for precision in [automatic] if quick else dict.fromkeys(("float32", automatic)):
            results += _measured(corpus, documents, precision, pairs)
    return results


def _measured(corpus: str, documents: list[str], precision: Precision, pairs: int) -> list[Result]:
    cores = os.cpu_count() or 1
    shares = [(documents[part::cores], precision) for part in range(cores)]
    per_document = flops(documents) / len(documents)
    limits: list[float] = []
    with (
        children(stage, shares) as ours,
        children(bare, [(documents, cores)]) as theirs,
        children(products, [(precision, *_sizes())] * cores) as limit,
    ):

        def limited() -> float:
            limits.append(sum(limit.ask()[1]))
            return len(documents) / ours.ask()[0]

        rates, others = in_pairs(limited, lambda: len(documents) / theirs.ask()[0], pairs)
    reached = [rate * per_document for rate in rates]
    goals = {"float32": (1.15, 0.8)}.get(precision, (1.8, 0.7))
    return [
        Result(
            f"embedding, {corpus}, {precision}",
            "SentenceTransformer.encode with its defaults, float32",
            "documents/s",
            rates,
            others,
            goals[0],
        ),
        Result(
            f"share of the limit, {corpus}, {precision}",
            f"matrix products of one layer of the model, {precision}, one thread per core, before each turn",
            "GFLOP/s",
            [each / 1e9 for each in reached],
            [each / 1e9 for each in limits[1:]],
            goals[1],
            note=f"{per_document / 1e9:.2f} GFLOP per document",
        ),
    ]


def stage(documents: list[str], precision: Precision, window: int = WINDOW) -> Work:
    """The stage as a Spark worker runs it: in one thread, reusing freed memory, in windows of a number of texts."""
    keep_freed()
    use_threads(1)
    model = load_model(ModelSettings(name=MODEL), precision)

    def work() -> None:
        embed_in_windows(model, documents, window=window)

    return work


def embed_in_windows(
    model: Model, documents: list[str], batch_tokens: int | None = None, *, window: int = WINDOW
) -> int:
    """Embed in windows, like a Spark worker. Returns the number of documents."""
    for at in range(0, len(documents), window):
        model.embed(documents[at : at + window], batch_tokens)
    return len(documents)


def bare(documents: list[str], threads: int) -> Work:
    """The library as its tutorial shows it, on all cores."""
    use_threads(threads)
    network = load_packaged(MODEL, "cpu")

    def work() -> None:
        network.encode(documents, show_progress_bar=False)

    return work


def products(precision: Precision, hidden: int, inner: int) -> Work:
    """Matrix products of a layer's size in one thread; returns operations per second."""
    import torch

    use_threads(1)
    kind = getattr(torch, precision)
    rows = torch.randn(_TOKENS, hidden).to(kind)
    weights = torch.randn(inner, hidden).to(kind)

    def work() -> float:
        with torch.inference_mode():
            started = time.perf_counter()
            for _ in range(_PRODUCTS):
                torch.nn.functional.linear(rows, weights)
        return float(2 * rows.numel() * inner * _PRODUCTS) / (time.perf_counter() - started)

    return work


def flops(documents: list[str]) -> float:
    """Operations that these documents' own tokens need, without padding: projections, layers and attention."""
    model = load_model(ModelSettings(name=MODEL))
    hidden, inner = _sizes()
    counted = model.count_tokens(documents)
    tokens = np.minimum(counted, model.max_length or counted.max()).astype(float)
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(_config().num_hidden_layers * (linear * tokens + 4 * hidden * tokens**2).sum())


def _sizes() -> tuple[int, int]:
    """The widths of a layer's input and of its inside."""
    config = _config()
    return config.hidden_size, config.intermediate_size


@cache
def _config() -> Any:
    transformer: Any = load_packaged(MODEL, "cpu")[0]
    return transformer.auto_model.config
