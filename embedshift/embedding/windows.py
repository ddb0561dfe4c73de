"""Windows over long documents: ``long_texts: mean`` embeds each window, and takes the mean by their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Tokens that a window must have room for, beside prompt and template.
ROOM_MIN = 8


@dataclass(frozen=True, slots=True)
class Parts:
    """The windows of n documents, those of one document together, in order.

    Args:
        texts: of every window.
        starts: shape (n,), int64: the first window of each document.
        tokens: shape (windows,), float32: what each window weighs.
    """

    texts: list[str]
    starts: NDArray[np.int64]
    tokens: NDArray[np.float32]

    def mean(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of the windows' vectors (shape (windows, dimension)), weighted by tokens: (n, dimension)."""
        total = np.add.reduceat(vectors * self.tokens[:, None], self.starts)
        return np.asarray(total / np.add.reduceat(self.tokens, self.starts)[:, None], np.float32)

    def told(self, documents: Callable[[int], object]) -> Callable[[int], object]:
        """What is to be called with windows that are under way, so that ``documents`` is called with documents."""
        windows = counted = 0

        def tell(more: int) -> None:
            nonlocal windows, counted
            windows += more
            now = windows * len(self.starts) // len(self.texts)
            documents(now - counted)
            counted = now

        return tell

    def faults(self, found: dict[int, str]) -> dict[int, str]:
        """The faults of documents: one that has a window with a fault has the first such window's."""
        owners = np.searchsorted(self.starts, np.fromiter(found, np.int64, len(found)), side="right") - 1
        faults: dict[int, str] = {}
        for owner, window in sorted(zip(owners.tolist(), found, strict=True)):
            faults.setdefault(owner, found[window])
        return faults


class Windows:
    """Cuts documents into windows that the model reads whole.

    Args:
        tokenizer: the model's, of the library ``tokenizers``; it gets a copy of its own, because a call sets limits.
        room: tokens of text that the model reads beside prompt and template.
    """

    def __init__(self, tokenizer: Any, room: int) -> None:
        self._tokenizer, self._room = tokenizer, room

    def of(self, documents: Sequence[str]) -> Parts | None:
        """The windows of documents; None if each fits in one."""
        # In plain ASCII no tokenizer makes more tokens than there are characters.
        long = [at for at, text in enumerate(documents) if len(text) > self._room or not text.isascii()]
        encoded = self._tokenizer.encode_batch([documents[at] for at in long], add_special_tokens=False)
        windows = {at: self._cut(documents[at], found.offsets) for at, found in zip(long, encoded, strict=True)}
        if all(len(each) == 1 for each in windows.values()):
            return None
        every = [windows.get(at, [(text, max(1, len(text)))]) for at, text in enumerate(documents)]
        counts = np.fromiter(map(len, every), np.int64, len(every))
        flat = [window for each in every for window in each]
        weights = np.fromiter((tokens for _, tokens in flat), np.float32, len(flat))
        return Parts([text for text, _ in flat], np.cumsum(counts) - counts, weights)

    def _cut(self, text: str, offsets: list[tuple[int, int]]) -> list[tuple[str, int]]:
        """The windows of one text with their tokens; between words, if there is a gap in the second half of a window.

        Args:
            text: the document.
            offsets: where each of its tokens begins and ends.
        """
        windows: list[tuple[str, int]] = []
        first = begin = 0
        while len(offsets) - first > self._room:
            last = first + self._room
            gap = next((at for at in range(last, first + self._room // 2, -1) if _is_gap(text, offsets, at)), last)
            windows.append((text[begin : offsets[gap][0]], gap - first))
            first, begin = gap, offsets[gap][0]
        return [*windows, (text[begin:], max(1, len(offsets) - first))]


def _is_gap(text: str, offsets: list[tuple[int, int]], at: int) -> bool:
    """Whether a word begins with a token: white space stands before it, or is its own first character."""
    begin = offsets[at][0]
    return text[begin : begin + 1].isspace() or text[begin - 1 : begin].isspace()
