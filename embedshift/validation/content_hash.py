"""The fingerprint of a table's content: equal as long as no value of any row changes, whenever it was written."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from embedshift.embedding import hash_vectors
from embedshift.errors import RefusedError
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.tokens import TokenRange
from embedshift.validation.table_pair import Subject, row_keys

_MODULUS = 1 << 128
_TEXT = re.compile(r"(\d+):([0-9a-f]{32})")
#: Numbers of a sketch: with 8192 of them an estimate is within 5 % of the truth 999 times of 1000.
_BUCKETS = 8192

Sketch = NDArray[np.int64]


def _nothing() -> Sketch:
    return np.zeros(_BUCKETS, np.int64)


@dataclass(frozen=True, slots=True)
class Content:
    """The number of rows, the sum of their hashes, and a sketch that says how many differ from those of another time.

    The order of rows and ranges does not matter.

    Args:
        rows: live rows of the target.
        total: the sum modulo 2**128 of each row's XXH3-128 over all its values.
        of_keys, of_values: int64, shape (8192,): the sum of each key, and of each row with its values, as 1 or -1 in
            one of the places. What is the same at two times cancels out, and each difference adds 1 to the expected
            sum of squares (Alon, Matias and Szegedy, The space complexity of approximating the frequency moments,
            1996; Charikar, Chen and Farach-Colton, Finding frequent items in data streams, 2002).
    """

    rows: int = 0
    total: int = 0
    of_keys: Sketch = field(default_factory=_nothing, compare=False, repr=False)
    of_values: Sketch = field(default_factory=_nothing, compare=False, repr=False)

    @classmethod
    def of(cls, hashes: Sequence[tuple[int, int]]) -> Content:
        """The content of n rows, of the 128-bit hashes of each row's key and of its key and values."""
        keys, rows = [key for key, _ in hashes], [row for _, row in hashes]
        return cls(len(hashes), sum(rows) % _MODULUS, _sketch(keys), _sketch(rows))

    def __add__(self, other: Content) -> Content:
        """The sum for two parts of a table that share no row."""
        return Content(
            self.rows + other.rows,
            (self.total + other.total) % _MODULUS,
            self.of_keys + other.of_keys,
            self.of_values + other.of_values,
        )

    def changed(self, before: Content) -> int:
        """About how many rows were added, deleted or changed since ``before``; exact for a few."""
        keys, values = (
            int(np.square(now - then).sum())
            for now, then in ((self.of_keys, before.of_keys), (self.of_values, before.of_values))
        )
        # A row that was added or deleted differs once in both; one that was changed differs twice, in its values.
        found = round((keys + values) / 2)
        return max(found, abs(self.rows - before.rows), int(self != before))

    @property
    def text(self) -> str:
        """Rows and hash, for the catalog and for people."""
        return f"{self.rows}:{self.total:032x}"

    @property
    def sketch(self) -> str:
        """The sketch for the catalog: base64 of deflated little-endian int64, below 100 KB for a table of any size."""
        numbers = np.concatenate([self.of_keys, self.of_values]).astype("<i8")
        return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()

    @classmethod
    def parse(cls, text: str, sketch: str) -> Content:
        """The inverse of ``text`` and ``sketch``. Raises RefusedError if they are not of that form."""
        match = _TEXT.fullmatch(text)
        try:
            numbers = np.frombuffer(zlib.decompress(base64.b64decode(sketch, validate=True)), "<i8").astype(np.int64)
        except (binascii.Error, zlib.error, ValueError):
            numbers = np.empty(0, np.int64)
        if match is None or len(numbers) != 2 * _BUCKETS:
            raise RefusedError("another version made the last validation", hint="run embedshift validate")
        return cls(int(match[1]), int(match[2], 16), numbers[:_BUCKETS], numbers[_BUCKETS:])


def content_columns(subject: Subject) -> list[str]:
    """The columns whose values are the content of the target, besides its key."""
    return [*subject.written, *subject.carried]


def content_of_rows(subject: Subject, rows: pa.RecordBatch) -> Content:
    """The content of a batch of the target's rows, which has the columns of ``content_columns``."""
    if rows.num_rows == 0:
        return Content()
    keys = [xxhash.xxh3_128_intdigest(key) for key in row_keys(subject.target, rows)]
    values = hash_values([rows.column(name) for name in content_columns(subject)])
    hashes = [
        xxhash.xxh3_128_intdigest(key.to_bytes(16, "big") + value) for key, value in zip(keys, values, strict=True)
    ]
    return Content.of(list(zip(keys, hashes, strict=True)))


def content_of(store: Store, subject: Subject, within: TokenRange, *, window_rows: int = 1000) -> Content:
    """The content of a token range of the target; ``survey_range`` finds the same.

    Args:
        window_rows: rows read at once.
    """
    content = Content()
    for rows in store.scan(subject.target, within, values=content_columns(subject), batch_rows=window_rows):
        content += content_of_rows(subject, rows)
    return content


def _sketch(hashes: list[int]) -> Sketch:
    low = np.array([each & (2**64 - 1) for each in hashes], np.uint64)
    places, signs = (low >> np.uint64(1)) % np.uint64(_BUCKETS), 1 - 2 * (low & np.uint64(1)).astype(np.int64)
    return np.bincount(places.astype(np.int64), signs, _BUCKETS).astype(np.int64)


def hash_values(columns: list[pa.Array]) -> list[bytes]:
    """The hash of each row's values, 16 bytes: for each value its length and its bytes, or that it is null."""
    joined = pc.binary_join_element_wise(*map(_framed, columns), pa.scalar(b""))
    return [xxhash.xxh3_128_digest(row) for row in joined.to_pylist()]


def _framed(column: pa.Array) -> pa.Array:
    """The values of a column as bytes, so that no two different rows of values are the same when they are joined."""
    values = _as_bytes(column)
    lengths = pc.binary_length(values).cast(pa.string()).cast(pa.binary())
    framed = pc.binary_join_element_wise(lengths, values, pa.scalar(b":"))
    return pc.fill_null(framed, b"-")


def _as_bytes(column: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type):
        there = pc.is_valid(column)
        hashes = pa.array(hash_vectors(matrix(column.drop_null()))).cast(pa.string()).cast(pa.binary())
        return pc.replace_with_mask(pa.nulls(len(column), pa.binary()), there, hashes)
    if pa.types.is_binary(column.type):
        return column
    # The shortest decimal form of a number is that of no other.
    return column.cast(pa.string()).cast(pa.binary())
