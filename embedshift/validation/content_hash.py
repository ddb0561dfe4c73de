"""The fingerprint of a table's content: equal as long as no row is added or deleted, or gets another vector."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from embedshift.embedding import DIGEST
from embedshift.errors import InputError
from embedshift.stores.contract import Store
from embedshift.stores.model import write_time
from embedshift.tokens import TokenRange
from embedshift.validation.table_pair import Subject, row_keys

_MODULUS = 1 << 128
_NEVER = -(2**63)
_TEXT = re.compile(r"(\d+):([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Content:
    """The number of rows and the sum of their hashes; the order of rows and ranges does not matter.

    Args:
        rows: live rows of the target.
        total: the sum modulo 2**128 of each row's XXH3-128 over key, digest and the vector's write time.
        newer: rows whose vector or digest was written after the moment that was asked about.
    """

    rows: int = 0
    total: int = 0
    newer: int = field(default=0, compare=False)

    def __add__(self, other: Content) -> Content:
        """The sum for two parts of a table that share no row."""
        return Content(self.rows + other.rows, (self.total + other.total) % _MODULUS, self.newer + other.newer)

    @property
    def text(self) -> str:
        """The compact form for the catalog: rows and hash."""
        return f"{self.rows}:{self.total:032x}"

    @classmethod
    def parse(cls, text: str) -> Content:
        """The inverse of ``text``. Raises InputError if the text is not of that form."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InputError(f"{text!r} is not the fingerprint of a table's content", hint="validate again")
        return cls(int(match[1]), int(match[2], 16))


def content_columns(subject: Subject) -> dict[str, list[str]]:
    """The columns that a scan must read of the target: digests and write times, no vectors."""
    return {"values": [DIGEST] if subject.target_digests else [], "times": subject.written}


def content_of_rows(subject: Subject, rows: pa.RecordBatch, newer_than_us: int | None = None) -> Content:
    """The content of a batch of the target's rows, which has the columns of ``content_columns``."""
    times = rows.column(write_time(subject.target_vector))
    digests = rows.column(DIGEST).to_pylist() if subject.target_digests else [None] * rows.num_rows
    suffixes = pc.fill_null(times, _NEVER).to_numpy().astype("<i8").tobytes()
    total = 0
    for at, (key, digest) in enumerate(zip(row_keys(subject.target, rows), digests, strict=True)):
        ending = suffixes[8 * at : 8 * at + 8]
        total += xxhash.xxh3_128_intdigest(key + (b"\x00" * 17 if digest is None else b"\x01" + digest) + ending)
    return Content(rows.num_rows, total % _MODULUS, _newer(subject, rows, newer_than_us))


def _newer(subject: Subject, rows: pa.RecordBatch, newer_than_us: int | None) -> int:
    if newer_than_us is None:
        return 0
    newest = pc.max_element_wise(*(rows.column(write_time(name)) for name in subject.written), skip_nulls=True)
    return int(np.count_nonzero(pc.fill_null(newest, _NEVER).to_numpy() > newer_than_us))


def content_of(
    store: Store,
    subject: Subject,
    within: TokenRange,
    *,
    newer_than_us: int | None = None,
    window_rows: int = 5000,
) -> Content:
    """The content of a token range of the target; ``survey_range`` finds the same.

    Args:
        newer_than_us: also count the rows written after this moment (microseconds since the epoch).
        window_rows: rows read at once.
    """
    content = Content()
    for rows in store.scan(subject.target, within, **content_columns(subject), batch_rows=window_rows):
        content += content_of_rows(subject, rows, newer_than_us)
    return content
