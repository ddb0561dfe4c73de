"""Tokens of documents, counted by a copy of the model's tokenizer, and the windows that long ones are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.structure import document_tokenizer, tokens_read
from embedshift.embedding.windows import ROOM_MIN, Windows
from embedshift.errors import ModelUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


#: Tokens that a window leaves free: a text that begins within another may have a few more than it had there.
_SPARE = 4


class TokenCount:
    """Counts the tokens of documents; a copy, because each call of the library sets its own tokenizer's limits."""

    def __init__(self, network: SentenceTransformer) -> None:
        self._network = network

    @cached_property
    def tokenizer(self) -> Any:
        """The copy; None if the model has none of the library ``tokenizers``."""
        tokenizer = document_tokenizer(self._network)
        inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not hasattr(inner, "to_str"):
            return None
        copied = type(inner).from_str(inner.to_str())
        copied.no_truncation()
        copied.no_padding()
        return copied

    def of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text and of what a template puts around it, before any cut, shape (n,)."""
        return self._own(texts) + self._around

    def windows(self, max_length: int, prompt: str) -> Windows:
        """What cuts documents into windows that a model reads whole with their prompt.

        Raises:
            ModelUnavailable: the tokenizer cannot say where its tokens stand, or no room is left for text.
        """
        if self.tokenizer is None:
            raise ModelUnavailable(
                "its tokenizer does not say where its tokens stand, which windows need", hint="set long_texts: cut"
            )
        around = self._around + int(self._own([prompt])[0]) + _SPARE
        if max_length - around < ROOM_MIN:
            raise ModelUnavailable(
                f"it reads {max_length} tokens of a text, and {around} of them are not the text's",
                hint="set a greater max_length, or long_texts: cut",
            )
        return Windows(self.tokenizer, max_length - around)

    @cached_property
    def _around(self) -> int:
        read = tokens_read(self._network, "a", "")
        return 0 if read is None else max(0, read - int(self._own(["a"])[0]))

    def _own(self, texts: Sequence[str]) -> NDArray[np.int64]:
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return np.fromiter((len(each.ids) for each in found), np.int64, len(texts))
