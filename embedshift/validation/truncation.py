"""How long texts are in tokens of the model, and how many are longer than the model reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.embedding import Model
from embedshift.validation.sample import Measured, in_lots

_BINS = 20
#: The maximum number of tokens that models put around a text.
_AROUND = 8

#: Counts the texts of an array that are longer than the model reads.
Cut = Callable[[pa.Array], int]


@dataclass(frozen=True, slots=True)
class Lengths:
    """A histogram of the lengths of texts in tokens, before any cut.

    Args:
        edges: tokens, one more than there are counts; the last edge is included.
        counts: texts between two edges.
        max_length: tokens that the model reads; None if it reads all.
        cut: texts of the whole table with more tokens.
        of: all texts of the table.
        sampled: whether the histogram is of a sample.
    """

    edges: tuple[int, ...]
    counts: tuple[int, ...]
    max_length: int | None
    cut: int
    of: int
    sampled: bool

    @property
    def share(self) -> float:
        """The share of texts that are cut; 0 if there are none."""
        return self.cut / self.of if self.of else 0.0


def lengths_of(tokens: NDArray[np.int64], max_length: int | None, *, cut: int, of: int) -> Lengths:
    """The histogram of some texts (tokens: shape (n,)) of a table that has ``of`` texts, ``cut`` of them too long."""
    most = int(tokens.max(initial=1))
    step = -(-most // _BINS)
    edges = np.arange(0, most + step, step)
    counts, _ = np.histogram(tokens, edges)
    return Lengths(tuple(edges.tolist()), tuple(counts.tolist()), max_length, cut, of, sampled=len(tokens) < of)


def tokens_of(model: Model) -> Measured | None:
    """Counts the tokens of documents, including the document prompt; None if the model's tokenizer cannot."""
    if not model.counts_tokens:
        return None

    def counted(texts: Sequence[str]) -> NDArray[Any]:
        return model.count_tokens([model.prompts.document + text for text in texts])

    return counted


def cut_by(model: Model) -> Cut | None:
    """Counts the texts that are cut; None if the model reads everything, in windows perhaps, or cannot count."""
    counted, most = tokens_of(model), model.max_length
    if counted is None or most is None or model.settings.long_texts == "mean":
        return None
    # In plain ASCII no tokenizer makes more tokens than there are characters: most short texts need not be counted.
    surely_read = max(0, most - _AROUND - len(model.prompts.document))
    plain = model.prompts.document.isascii()

    def cut(texts: pa.Array) -> int:
        short = pc.and_(pc.string_is_ascii(texts), pc.less_equal(pc.utf8_length(texts), surely_read))
        doubtful = (texts.filter(pc.invert(short)) if plain else texts).to_pylist()
        return int((in_lots(counted, doubtful) > most).sum())

    return cut
