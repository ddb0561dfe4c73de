"""The embedding stage on a GPU: its tokenizer in one thread and on all cores, and batches of several sizes.

``python -m benchmarks.embedding_on_gpu FOLDER`` with a model's folder; not part of ``make bench``, which needs no GPU.
Everything is measured in one process, because the tokenizer reads its environment at each call. Without a GPU the same
runs on the processor, and the record says so.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.corpus import log_normal, texts
from benchmarks.embedding import WINDOW, embed_in_windows
from benchmarks.pairs import Result, in_pairs, timed
from benchmarks.record import heading, write_record
from embedshift.embedding import Precision, device_of, load_model
from embedshift.settings import ModelSettings

DOCUMENTS, PAIRS = 4096, 3
PARALLEL = "TOKENIZERS_PARALLELISM"
_PRECISIONS: tuple[Precision, ...] = ("float32", "float16")
_BUDGETS = (8_192, 16_384, 32_768, 65_536, 131_072)


def main() -> None:
    """Measure and write the record."""
    settings = ModelSettings(name=sys.argv[1])
    head = heading("python -m benchmarks.embedding_on_gpu FOLDER")
    documents = texts(log_normal(DOCUMENTS))
    exact, half = (load_model(settings, precision).embed(documents[:WINDOW]).vectors for precision in _PRECISIONS)
    record = {
        **head,
        "device": torch.cuda.get_device_name() if device_of(settings) == "cuda" else "no GPU",
        "chosen_for_the_tokenizer": os.environ[PARALLEL],
        "least_cosine_of_float16": float(np.einsum("ij,ij->i", exact, half).min()),
        "results": [
            _measured(settings, documents, precision, parallel).tree()
            for parallel in ("false", "true")
            for precision in _PRECISIONS
        ],
        "documents_a_second_by_tokens_of_a_batch": _by_budget(settings, documents),
    }
    print(json.dumps({key: value for key, value in record.items() if key not in head}, indent=2))
    print(f"written: {write_record(record, 'gpu')}")


def _measured(
    settings: ModelSettings, documents: list[str], precision: Precision, parallel: Literal["false", "true"]
) -> Result:
    """The stage compared with the library and its defaults."""
    os.environ[PARALLEL] = parallel
    model = load_model(settings, precision)
    bare = SentenceTransformer(settings.name, device=device_of(settings)).float()

    def stage() -> int:
        return embed_in_windows(model, documents)

    def library() -> int:
        bare.encode(documents, show_progress_bar=False)
        return len(documents)

    rates = in_pairs(lambda: timed(stage)[0], lambda: timed(library)[0], PAIRS)
    name = f"embedding, log-normal, {precision}, {PARALLEL}={parallel}"
    return Result(name, "SentenceTransformer.encode with its defaults, float32", "documents/s", *rates)


def _by_budget(settings: ModelSettings, documents: list[str]) -> dict[int, list[float]]:
    """Rates of the stage in float16, the tokenizer on all cores, for several maximum numbers of tokens per batch."""
    model = load_model(settings, "float16")
    embed_in_windows(model, documents)
    return {
        most: [timed(partial(embed_in_windows, model, documents, most))[0] for _ in range(PAIRS)] for most in _BUDGETS
    }


if __name__ == "__main__":
    main()
