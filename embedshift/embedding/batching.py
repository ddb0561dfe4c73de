"""How a window of texts is cut into batches: texts of similar length together, with a limited number of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


#: The maximum number of texts in one batch, however short they are.
ROWS_MAX = 256


def token_batches(lengths: NDArray[np.int64], tokens_max: int) -> list[NDArray[np.int64]]:
    """Cut texts into batches whose padded size stays within a limit, the longest texts first.

    Args:
        lengths: tokens of each text, shape (n,).
        tokens_max: maximum tokens of a batch, padding included; a text that is longer is a batch of its own.

    Returns:
        Arrays of positions; together they contain every position once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        rows = min(ROWS_MAX, max(1, tokens_max // longest))
        batches.append(order[start : start + rows])
        start += rows
    return batches


class Tokens:
    """The tokenizer's output for n texts. ``lengths`` has the tokens of each, shape (n,), int64.

    The tokenizer pads lists, and with a GPU that would take longer than the model.

    Args:
        tokenizer: knows what to pad with, and on which side.
        columns: by name, such as ``input_ids``, a list of integers for each text, not padded.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, columns: Mapping[str, Sequence[Sequence[int]]]) -> None:
        ids = columns["input_ids"]
        self.lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        self._starts = np.cumsum(self.lengths) - self.lengths
        total = int(self.lengths.sum())
        self._flat = {
            name: np.fromiter(chain.from_iterable(column), np.int64, total) for name, column in columns.items()
        }
        self._fill = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
        self._at_left = tokenizer.padding_side == "left"

    def padded(self, rows: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """The columns of some texts and their ``attention_mask``, each of shape (rows, longest of them), int64."""
        import torch

        lengths = self.lengths[rows][:, None]
        places = np.arange(lengths.max())
        if self._at_left:
            places = places - places.size + lengths
        mask = (places >= 0) & (places < lengths)
        taken = (self._starts[rows][:, None] + places)[mask]
        batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
        for name, flat in self._flat.items():
            column = np.full(mask.shape, self._fill.get(name, 0), np.int64)
            column[mask] = flat[taken]
            batch[name] = torch.from_numpy(column)
        return batch
