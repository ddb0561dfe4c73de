"""The sample: articles from all over the ring, and among them the probes, of texts of every length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.embedding import Template
from jobs.quality.keys import row_keys
from jobs.quality.sampling import draw_rows
from jobs.quality.subject import Subject
from jobs.quality.vectors import matrix
from jobs.stores.contract import Store

#: Texts whose length is counted at once.
_TEXTS_AT_ONCE = 256

Measured = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Sample:
    """Articles of the target that have a vector, with the lengths of their texts.

    Args:
        subject: what is validated.
        rows: keys, vector and the columns of the text.
        lengths: of each text, shape (n,), int64.
    """

    subject: Subject
    rows: pa.RecordBatch
    lengths: NDArray[np.int64]

    def texts(self) -> list[str]:
        """The text of each article."""
        rendered: list[str] = Template.parse(self.subject.text).render(self.rows).to_pylist()
        return rendered

    def vectors(self) -> NDArray[np.float32]:
        """The target's vector of each article, shape (n, dimension)."""
        return matrix(self.rows.column(self.subject.target_vector))

    def keys(self) -> list[bytes]:
        """The key of each article, as ``keys.row_keys`` has it."""
        return row_keys(self.subject.target, self.rows)

    def of_all_lengths(self, n: int, seed: int) -> Sample:
        """At most ``n`` of these articles, one of each n-th by length of text: the same share of short and long ones.

        Each article is as likely to be taken as any other, so that a mean over them needs no weights.
        """
        if n >= len(self.lengths):
            return self
        random = np.random.default_rng(seed)
        strata = np.array_split(np.argsort(self.lengths, kind="stable"), n)
        chosen = np.sort([int(random.choice(stratum)) for stratum in strata])
        return Sample(self.subject, self.rows.take(pa.array(chosen)), self.lengths[chosen])


def draw_sample(
    store: Store,
    subject: Subject,
    n: int,
    seed: int,
    measured: Measured | None = None,
    *,
    also: Sequence[str] = (),
) -> Sample:
    """Draw articles of the target whose vector can be searched for.

    Args:
        n: how many; fewer come back where the table has fewer.
        seed: the same seed draws the same rows, as long as the table stays as it is.
        measured: the lengths of texts, such as their tokens; their characters where None.
        also: further columns to read.
    """
    wanted = dict.fromkeys([*subject.text_columns, *also])
    rows = draw_rows(store, subject, n, seed, values=[name for name in wanted if name not in subject.keys])
    texts = Template.parse(subject.text).render(rows).to_pylist()
    return Sample(subject, rows, in_lots(measured or _characters, texts))


def in_lots(measured: Measured, texts: Sequence[str]) -> NDArray[np.int64]:
    """The lengths of texts, shape (n,), measured a lot at a time."""
    lots = (texts[at : at + _TEXTS_AT_ONCE] for at in range(0, len(texts), _TEXTS_AT_ONCE))
    return np.concatenate([np.empty(0, np.int64), *(measured(lot) for lot in lots)])


def _characters(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter((len(text) for text in texts), np.int64, len(texts))
