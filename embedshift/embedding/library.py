"""The library's own path: ``encode_document`` and ``encode_query``, for whatever sentence-transformers loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.contract import Prompts, Task
from embedshift.embedding.structure import is_word_table

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Texts given to the library at once: its own default, and more for a table of word vectors.
_TEXTS, _OF_A_TABLE = 32, 1024


class LibraryPath:
    """Embeds as the library does, in batches of texts of similar length."""

    def __init__(self, network: SentenceTransformer, prompts: Prompts) -> None:
        self._network, self._prompts = network, prompts
        self._at_once = _OF_A_TABLE if is_word_table(network) else _TEXTS

    def one_by_one(self) -> None:
        """Give the library one text at a time from now on, for a model whose vectors depend on their neighbours."""
        self._at_once = 1

    def vectors(
        self, texts: Sequence[str], task: Task, *, told: Callable[[int], object] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of shape (n, dimension) as the model makes them, n > 0.

        Args:
            texts: without their prompt.
            task: what they are.
            told: is called with the number of texts of each batch that is under way.
        """
        encode = self._network.encode_query if task == "query" else self._network.encode_document
        prompt = self._prompts.before(task)
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        done = []
        for start in range(0, len(texts), self._at_once):
            rows = order[start : start + self._at_once]
            made = encode(
                [texts[row] for row in rows], prompt=prompt, batch_size=self._at_once, show_progress_bar=False
            )
            done.append(np.asarray(made, np.float32))
            if told is not None:
                told(len(rows))
        found = np.concatenate(done)
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors
