"""How fast a model embeds on this machine: measured on a sample, in one thread, as a Spark task does it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedshift.embedding import Model
from embedshift.errors import UsageError

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What one worker embeds per second.

    Args:
        model: its name.
        dimension: the dimension of its vectors.
        texts: texts of the sample per second.
        text_bytes: bytes of a text of the sample, on average.
        tokens: tokens of a text of the sample, on average; 0 if the model does not say.
        tokens_read: the same, without the tokens that the model cuts off.
        max_length: the maximum number of tokens that it reads of a text; None: all.
    """

    model: str
    dimension: int
    texts: float
    text_bytes: float
    tokens: float = 0.0
    tokens_read: float = 0.0
    max_length: int | None = None

    def of_texts(self, text_bytes: float) -> float:
        """The rate for texts of another length: the cost depends on the tokens that the model reads."""
        if not self.tokens:
            return self.texts * self.text_bytes / text_bytes
        tokens = self.tokens * text_bytes / self.text_bytes
        return self.texts * self.tokens_read / min(tokens, self.max_length or tokens)

    @classmethod
    def from_file(cls, path: Path) -> Rate:
        """The rate that ``embedshift plan --measure --json`` printed. Raises UsageError if the file has none."""
        try:
            rate = cls(**json.loads(path.read_text(encoding="utf-8"))["measured"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "make one: embedshift plan --measure --json > FILE"
            raise UsageError(f"{path} contains no measured rate ({type(error).__name__})", hint=hint) from error
        if not all(math.isfinite(each) and each > 0 for each in (rate.texts, rate.text_bytes)):
            raise UsageError(f"{path} contains a rate that is not valid", hint="measure again")
        return rate


def measure_rate(model: Model, texts: Sequence[str], seconds: float = _SECONDS) -> Rate:
    """Embed a sample for some seconds, and at least once."""
    model.use_threads(1)
    model.embed(texts[:16])  # the first batch of a process is slower
    began, embedded = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not embedded:
        model.embed(texts)
        embedded += len(texts)
    tokens = model.count_tokens(texts) if model.counts_tokens else np.zeros(len(texts), np.int64)
    read = tokens if model.max_length is None else tokens.clip(max=model.max_length)
    return Rate(
        model=model.settings.name,
        dimension=model.dimension,
        texts=embedded / spent,
        text_bytes=sum(len(text.encode()) for text in texts) / len(texts),
        tokens=float(tokens.mean()),
        tokens_read=float(read.mean()),
        max_length=model.max_length,
    )
