"""The token ring: Murmur3 tokens, ranges of them, and the arithmetic of coverage.

A token is a signed 64-bit integer. A range is ``(start, end]``, as in CQL. No key has the smallest token, -2**63
(Cassandra and ScyllaDB move such a hash to the greatest token), so ``(MIN_TOKEN, MAX_TOKEN]`` is the whole ring and no
range ever wraps around.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MIN_TOKEN = -(2**63)
MAX_TOKEN = 2**63 - 1


@dataclass(frozen=True, order=True, slots=True)
class TokenRange:
    """The tokens ``start < token <= end``.

    Args:
        start: exclusive lower bound, ``MIN_TOKEN <= start``.
        end: inclusive upper bound, ``start < end <= MAX_TOKEN``.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if not MIN_TOKEN <= self.start < self.end <= MAX_TOKEN:
            raise ValueError(f"({self.start}, {self.end}] is not a token range")

    def __contains__(self, token: object) -> bool:
        return isinstance(token, int) and self.start < token <= self.end

    def __str__(self) -> str:
        return f"({self.start}, {self.end}]"

    @property
    def width(self) -> int:
        """How many tokens the range holds."""
        return self.end - self.start

    def split(self, parts: int) -> list[TokenRange]:
        """Cut into ``parts`` neighbours of equal width; fewer if there are fewer tokens."""
        parts = min(parts, self.width)
        edges = [self.start + self.width * part // parts for part in range(parts + 1)]
        return [TokenRange(start, end) for start, end in pairwise(edges)]


WHOLE_RING = TokenRange(MIN_TOKEN, MAX_TOKEN)


def unite(ranges: Iterable[TokenRange]) -> list[TokenRange]:
    """The same tokens as the fewest ranges, in order; overlaps and neighbours are merged."""
    united: list[TokenRange] = []
    for each in sorted(ranges):
        if united and each.start <= united[-1].end:
            united[-1] = TokenRange(united[-1].start, max(united[-1].end, each.end))
        else:
            united.append(each)
    return united


def subtract(ranges: Iterable[TokenRange], covered: Iterable[TokenRange]) -> list[TokenRange]:
    """The tokens of ``ranges`` that are not in ``covered``: in order, merged."""
    return uncovered(unite(ranges), covered)


def uncovered(pieces: Iterable[TokenRange], covered: Iterable[TokenRange]) -> list[TokenRange]:
    """The tokens of each piece that are not in ``covered``: in order; pieces that meet stay separate."""
    holes = unite(covered)
    left: list[TokenRange] = []
    at = 0
    for each in sorted(pieces):
        start = each.start
        while at < len(holes) and holes[at].end <= start:
            at += 1
        hole = at
        while hole < len(holes) and holes[hole].start < each.end:
            if start < holes[hole].start:
                left.append(TokenRange(start, holes[hole].start))
            start = max(start, holes[hole].end)
            hole += 1
        if start < each.end:
            left.append(TokenRange(start, each.end))
    return left


def from_ring(tokens: Iterable[int]) -> list[TokenRange]:
    """The ranges between the tokens that nodes own: the whole ring once, with the wrap-around cut at its edge."""
    edges = sorted({MIN_TOKEN, MAX_TOKEN, *tokens})
    return [TokenRange(start, end) for start, end in pairwise(edges)]


_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_FIVE = np.uint64(5)


def _rotate(x: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def _final_mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x ^ (x >> np.uint64(33))
    x = x * np.uint64(0xFF51AFD7ED558CCD)
    x = x ^ (x >> np.uint64(33))
    x = x * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


def _hash_of_equal_length(keys: NDArray[np.uint8]) -> NDArray[np.int64]:
    rows, length = keys.shape
    h1 = np.zeros(rows, np.uint64)
    h2 = np.zeros(rows, np.uint64)
    blocks = length // 16
    words = np.ascontiguousarray(keys[:, : blocks * 16]).view("<u8").reshape(rows, blocks * 2)
    for block in range(blocks):
        k1 = _rotate(words[:, 2 * block] * _C1, 31) * _C2
        h1 = (_rotate(h1 ^ k1, 27) + h2) * _FIVE + np.uint64(0x52DCE729)
        k2 = _rotate(words[:, 2 * block + 1] * _C2, 33) * _C1
        h2 = (_rotate(h2 ^ k2, 31) + h1) * _FIVE + np.uint64(0x38495AB5)
    # Cassandra reads the tail as signed bytes, unlike the reference implementation (CASSANDRA-2975);
    # every other implementation of the partitioner does the same, because data on disk depends on it.
    tail = keys[:, blocks * 16 :].view(np.int8).astype(np.int64).view(np.uint64)
    k1, k2 = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
    for at in range(min(8, tail.shape[1])):
        k1 ^= tail[:, at] << np.uint64(8 * at)
    for at in range(8, tail.shape[1]):
        k2 ^= tail[:, at] << np.uint64(8 * (at - 8))
    h2 = h2 ^ (_rotate(k2 * _C2, 33) * _C1)
    h1 = h1 ^ (_rotate(k1 * _C1, 31) * _C2)
    h1, h2 = h1 ^ np.uint64(length), h2 ^ np.uint64(length)
    h1 = h1 + h2
    h2 = h2 + h1
    h1, h2 = _final_mix(h1), _final_mix(h2)
    token = (h1 + h2).view(np.int64)
    return np.where(token == MIN_TOKEN, np.int64(MAX_TOKEN), token)


def murmur3(keys: Sequence[bytes]) -> NDArray[np.int64]:
    """The tokens of serialised partition keys, as ``Murmur3Partitioner`` computes them.

    Args:
        keys: n serialised partition keys.

    Returns:
        int64 array of shape (n,).
    """
    tokens = np.empty(len(keys), np.int64)
    lengths = np.fromiter((len(key) for key in keys), np.int64, len(keys))
    with np.errstate(over="ignore"):
        for length in np.unique(lengths):
            chosen = np.flatnonzero(lengths == length)
            joined = b"".join(keys[index] for index in chosen.tolist())
            table = np.frombuffer(joined, np.uint8).reshape(len(chosen), int(length))
            tokens[chosen] = _hash_of_equal_length(table)
    return tokens
