"""Sixteen fixed texts, by whose vectors a service's model is known. They never change: the catalog has their vectors.

Twelve are short. Four are longer than what usual models read, which is 256, 512, 2,048 or 8,192 tokens: a service that
begins to read more of a text, or less, answers otherwise to one of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHORT = (
    "Bread",
    "A river carries stones to the sea.",
    "How do I renew a passport that has expired?",
    "In 1869 a chemist left gaps in his table of the elements, and the gaps were filled.",
    "def mean(values): return sum(values) / len(values)",
    "Der Zug nach Basel fährt heute von Gleis 7.",
    "La bibliothèque ferme à dix-huit heures.",
    "今日は雨が降っています。",
    "heat transfer in the laminar boundary layer of a flat plate",
    "ERROR 1045 (28000): access denied",
    "The defendant shall pay the costs of the proceedings.",
    "Two tablets every six hours, with water, after a meal.",
)
#: Words of the long texts; each word is a token at least.
_LONG = (300, 600, 2_100, 8_300)
_WORDS = (
    "stone river light bread metal cloud glass sugar plant wire field engine paper salt motor window letter "
    "garden winter copper bridge signal forest number harbour candle mirror planet button kettle ladder saddle"
)


def _long(words: int) -> str:
    # A generator of its own: those of libraries may change with their versions.
    known, state = _WORDS.split(), words
    chosen = []
    for _ in range(words):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        chosen.append(known[(state >> 16) % len(known)])
    return " ".join(chosen)


TEXTS = (*SHORT, *map(_long, _LONG))
#: The texts that are cheap to ask for.
CHEAP = range(len(SHORT) + 1)


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The cosine of two vectors; 0 if they have different dimensions, or one is zero or not finite."""
    if one.shape != other.shape:
        return 0.0
    a, b = one.astype(np.float64), other.astype(np.float64)
    product = float(a @ b) / (float(np.linalg.norm(a)) * float(np.linalg.norm(b)) or 1.0)
    return product if np.isfinite(product) else 0.0
