"""The audit of the live table: how many rows have no good vector of their current text, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.embedding import DIGEST, Template, digest_texts, hash_vectors, mismatched, of_text
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.stores.model import Table, write_time
from embedshift.tokens import TokenRange
from embedshift.validation.differences import as_mask
from embedshift.validation.exact_knn import all_finite
from embedshift.validation.survey_result import EXAMPLES_MAX, Examples
from embedshift.validation.table_pair import json_keys

_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Audited:
    """What is audited; plain data, because it is sent to Spark's workers.

    Args:
        table: the live table.
        text: the template of the embedded text.
        vector: the column of the vectors.
        fingerprint: the fingerprint of the alias's model.
        dimension: the dimension of the alias's model.
        normalized: whether vectors should have length 1.
        former: fingerprints of other models that the catalog knows.
    """

    table: Table
    text: str
    vector: str
    fingerprint: str
    dimension: int
    normalized: bool
    former: tuple[str, ...] = ()

    @property
    def digests(self) -> bool:
        """Whether the table has digests; without them no scan can say which text a vector belongs to."""
        return self.table.column(DIGEST) is not None


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. A row counts once, for its first fault.

    Args:
        rows: live rows that were read.
        with_text: rows that have something to embed.
        without_vector: rows with a text but no vector.
        orphans: vectors without a text, left when the text was deleted or expired; searches find them.
        wrong_dimension: vectors of another dimension than the model's.
        other_model: vectors of the current text, but made by another model that the catalog knows.
        stale: vectors of an older text, or of an unknown model.
        nonfinite: vectors with a NaN or an infinity.
        not_unit: vectors whose length is not 1, if the model normalises its vectors.
        mixed: vectors that are not the ones that were written with their digests.
        examples: a few keys for each fault.
    """

    rows: int = 0
    with_text: int = 0
    without_vector: int = 0
    orphans: int = 0
    wrong_dimension: int = 0
    other_model: int = 0
    stale: int = 0
    nonfinite: int = 0
    not_unit: int = 0
    mixed: int = 0
    examples: Examples = field(default_factory=Examples)

    def __add__(self, other: Audit) -> Audit:
        """The sum for two parts of a table that share no row."""
        return Audit(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def faults(self) -> dict[str, int]:
        """The number of rows for each fault."""
        return {name: getattr(self, name) for name in FAULTS}

    @property
    def faulty(self) -> int:
        """Rows with any fault."""
        return sum(self.faults.values())


FAULTS = tuple(each.name for each in fields(Audit) if each.name not in ("rows", "with_text", "examples"))


def audit_range(store: Store, audited: Audited, within: TokenRange, *, window_rows: int = 1000) -> Audit:
    """Audit one token range. Rows that seem faulty are read again, and count as they are then.

    Args:
        window_rows: rows held at once.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = Audit()
    columns = _columns(audited)
    keys = [key.name for key in audited.table.keys]
    for rows in store.scan(audited.table, within, **columns, batch_rows=window_rows):
        doubtful = _any_of(dict(_faults(audited, rows)).values(), rows.num_rows)
        good = rows.filter(pa.array(~doubtful))
        found += Audit(good.num_rows, _with_text(audited, good))
        if doubtful.any():
            again = rows.filter(pa.array(doubtful)).select(keys)
            found += _counted(audited, store.fetch(audited.table, again, **columns))
    return found


def _any_of(masks: Any, rows: int) -> NDArray[np.bool_]:
    """Where at least one of several masks of shape (rows,) is true."""
    any_of: NDArray[np.bool_] = np.logical_or.reduce([np.zeros(rows, np.bool_), *masks])
    return any_of


def _columns(audited: Audited) -> dict[str, list[str]]:
    keys = {key.name for key in audited.table.keys}
    text = [name for name in Template.parse(audited.text).columns if name not in keys]
    made = [audited.vector, *([DIGEST] if audited.digests else [])]
    return {"values": [*text, *made], "times": made}


def _with_text(audited: Audited, rows: pa.RecordBatch) -> int:
    return int((~as_mask(Template.parse(audited.text).empty(rows))).sum()) if rows.num_rows else 0


def _counted(audited: Audited, rows: pa.RecordBatch) -> Audit:
    counts: dict[str, int] = {}
    examples: dict[str, tuple[dict[str, Any], ...]] = {}
    counted = np.zeros(rows.num_rows, np.bool_)
    for name, where in _faults(audited, rows):
        first = where & ~counted
        counted |= first
        counts[name] = int(first.sum())
        if counts[name]:
            examples[name] = tuple(json_keys(audited.table, rows.filter(pa.array(first)), EXAMPLES_MAX))
    return Audit(rows.num_rows, _with_text(audited, rows), **counts, examples=Examples(examples))


def _faults(audited: Audited, rows: pa.RecordBatch) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each fault and the rows that have it, shape (rows,)."""
    if rows.num_rows == 0:
        return
    template = Template.parse(audited.text)
    texts, empty = template.render(rows), template.empty(rows)
    no_text, has = as_mask(empty), as_mask(pc.is_valid(rows.column(audited.vector)))
    yield "without_vector", ~no_text & ~has
    yield "orphans", no_text & has
    if rows.column(audited.vector).type.list_size != audited.dimension:
        yield "wrong_dimension", has
        return
    if audited.digests:
        held = of_text(rows.column(DIGEST))
        wrong = has & ~_equal(held, digest_texts(audited.fingerprint, texts, empty))
        of_other = _any_of(_matches(audited.former, held, texts, empty) if wrong.any() else (), rows.num_rows)
        yield "other_model", wrong & of_other
        yield "stale", wrong
    finite, unit = np.ones(rows.num_rows, np.bool_), np.ones(rows.num_rows, np.bool_)
    vectors = matrix(rows.column(audited.vector).drop_null())
    finite[has] = all_finite(vectors)
    if audited.normalized:
        lengths = np.linalg.norm(np.nan_to_num(vectors).astype(np.float64), axis=1)
        unit[has] = np.abs(lengths - 1) <= _NORM_TOLERANCE
    yield "nonfinite", ~finite
    yield "not_unit", ~unit
    if audited.digests:
        others, unnamed = mismatched(rows.column(DIGEST).filter(pa.array(has)), hash_vectors(vectors))
        apart = ~_equal(rows.column(write_time(audited.vector)), rows.column(write_time(DIGEST)))
        mixed = np.zeros(rows.num_rows, np.bool_)
        mixed[has] = others | (unnamed & apart[has])
        yield "mixed", mixed


def _matches(
    fingerprints: Sequence[str], held: pa.Array, texts: pa.Array, empty: pa.Array
) -> Iterator[NDArray[np.bool_]]:
    for fingerprint in fingerprints:
        yield _equal(held, digest_texts(fingerprint, texts, empty))


def _equal(one: pa.Array, other: pa.Array) -> NDArray[np.bool_]:
    return as_mask(pc.fill_null(pc.equal(one, other), False))
