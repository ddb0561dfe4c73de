"""The quick path: our own batches of tokens straight through a model's layers.

It is for models that ``structure.is_uniform`` knows, and only if ``agreement`` finds the library's own vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.batching import Tokens, token_batches
from embedshift.embedding.contract import Prompts, Task

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

#: Padded tokens of one batch. Measurements showed what fits a CPU's caches; on a GPU all values from 32,768 are alike.
_TOKENS_CPU, _TOKENS_GPU = 1024, 131_072


class QuickPath:
    """Embeds by token batches.

    Args:
        network: the model, cast to the precision in which it computes.
        prompts: put before every text.
        max_length: tokens that are read of a text; None: all.
        device: where it runs.
        short_attention: whether it computes in bfloat16 on a CPU, where our own attention may be faster.
    """

    def __init__(
        self,
        network: SentenceTransformer,
        prompts: Prompts,
        max_length: int | None,
        device: str,
        *,
        short_attention: bool,
    ) -> None:
        self._network, self._prompts, self._max_length = network, prompts, max_length
        self._device, self._short_attention = device, short_attention
        self._tokenizing = Lock()

    def tokens(self, texts: Sequence[str], task: Task) -> Tokens:
        """The tokens of texts, with the prompt of their task, cut to what the model reads."""
        tokenizer, prompt = self._network.tokenizer, self._prompts.before(task)
        cut = {"truncation": self._max_length is not None, "max_length": self._max_length}
        # A call sets the tokenizer's limits, which must not happen while another thread's call is under way.
        with self._tokenizing:
            columns = tokenizer(
                [prompt + text for text in texts] if prompt else list(texts),
                **cut,
                padding=False,
                return_attention_mask=False,
                verbose=False,
            )
        return Tokens(tokenizer, columns)

    def count(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text as it is, before any cut, shape (n,)."""
        with self._tokenizing:
            ids = self._network.tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
        return np.fromiter((len(each) for each in ids), np.int64, len(texts))

    def vectors(
        self,
        texts: Sequence[str],
        task: Task,
        *,
        tokens: Tokens | None = None,
        batch_tokens: int | None = None,
        told: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """Vectors of shape (n, dimension) as the model makes them, n > 0.

        Args:
            texts: without their prompt.
            task: what they are.
            tokens: the texts, tokenised before.
            batch_tokens: maximum padded tokens through the model at once; if None, a value that fits the device.
            told: is called with the number of texts of each batch that is under way.
        """
        import torch

        tokens = tokens or self.tokens(texts, task)
        budget = batch_tokens or (_TOKENS_CPU if self._device == "cpu" else _TOKENS_GPU)
        batches = token_batches(tokens.lengths, budget)
        dimension = self._network.truncate_dim
        done: list[Tensor] = []
        with torch.inference_mode(), self._attention():
            for rows in batches:
                # A GPU's results are fetched only after the last batch, so that it computes while the next is padded.
                made = self._network(self._moved(tokens.padded(rows)))["sentence_embedding"]
                done.append(made[:, :dimension].float())
                if told is not None:
                    told(len(rows))
            found = torch.cat(done).cpu().numpy()
        vectors = np.empty_like(found)
        vectors[np.concatenate(batches)] = found
        return vectors

    def _moved(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        pinned = self._device.startswith("cuda")
        return {
            name: (column.pin_memory() if pinned else column).to(self._device, non_blocking=pinned)
            for name, column in batch.items()
        }

    def _attention(self) -> AbstractContextManager[object]:
        if not self._short_attention:
            return nullcontext()
        from embedshift.embedding.attention import QuickAttention, has_amx

        return nullcontext() if has_amx() else QuickAttention()
