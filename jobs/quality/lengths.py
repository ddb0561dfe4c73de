"""How long texts are in tokens of the model, and how many of them it does not read to their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.embedding import Model
from jobs.quality.probes import Measured

_BINS = 20


@dataclass(frozen=True, slots=True)
class Lengths:
    """A histogram of the tokens of texts, before any cut.

    Args:
        edges: tokens, one more than there are counts; the last one is included.
        counts: texts between two edges.
        max_length: tokens that the model reads; None where it reads all.
        cut: texts of more tokens.
        of: texts that were counted.
        sampled: whether they are a sample of the table.
    """

    edges: tuple[int, ...]
    counts: tuple[int, ...]
    max_length: int | None
    cut: int
    of: int
    sampled: bool

    @property
    def share(self) -> float:
        """The share of texts that are cut; 0 of none."""
        return self.cut / self.of if self.of else 0.0


def lengths_of(tokens: NDArray[np.int64], max_length: int | None, *, rows: int) -> Lengths:
    """Sum up the tokens of texts (shape (n,)) of a table that has ``rows`` of them."""
    most = int(tokens.max(initial=1))
    step = -(-most // _BINS)
    edges = np.arange(0, most + step, step)
    counts, _ = np.histogram(tokens, edges)
    cut = 0 if max_length is None else int((tokens > max_length).sum())
    return Lengths(
        tuple(edges.tolist()), tuple(counts.tolist()), max_length, cut, len(tokens), sampled=len(tokens) < rows
    )


def tokens_of(model: Model) -> Measured | None:
    """Counts the tokens of documents, the document prompt among them; None where the model's tokenizer cannot."""
    if not model.counts_tokens:
        return None

    def counted(texts: Sequence[str]) -> NDArray[Any]:
        return model.count_tokens([model.settings.document_prompt + text for text in texts])

    return counted
