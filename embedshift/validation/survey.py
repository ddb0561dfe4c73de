"""The survey: every row of source and target is read, and rows that seem to differ are read again.

It shares no code with sync's comparison, so that neither hides a mistake of the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.embedding import DIGEST, Template, hash_vectors, mismatched
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.stores.merge_join import Merged, key_array, merge, paired, scan_schema
from embedshift.stores.model import Table, write_time
from embedshift.tokens import TokenRange
from embedshift.validation.content_hash import Content, content_columns, content_of_rows, hash_values
from embedshift.validation.differences import Differences, as_mask
from embedshift.validation.duplicates import Repeats
from embedshift.validation.exact_knn import Nearest, all_finite
from embedshift.validation.survey_result import EXAMPLES_MAX, SEEN, Doubtful, Examples, Recent, Survey
from embedshift.validation.table_pair import Subject, json_keys, row_keys
from embedshift.validation.truncation import Cut

#: Doubtful rows of one range that are kept to be looked at again; the others are not proved.
DOUBTFUL_MAX = 1000
_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Look:
    """How rows are looked at, and what is asked beside.

    Args:
        moment_us: microseconds since the epoch. What was written to the source since, or is only in the target, is in
            doubt, and no fault yet. None: every difference is a fault.
        last: what is still in doubt counts as not proved.
        window_rows: rows of either table held at once, and differences held for the second reading.
        probes: shape (n, dimension), float32: vectors whose exact neighbours are wanted.
        k: how many neighbours of each probe.
        cut: counts the texts that are longer than the target's model reads.
        indexed_us: when the target's index was built, to find the vectors that were written since; None: do not.
        again_after_s: how old a difference must be when the row is read again, so that a write that is under way in
            both tables has ended.
    """

    moment_us: int | None = None
    last: bool = False
    window_rows: int = 1000
    probes: NDArray[np.float32] | None = None
    k: int = 100
    cut: Cut | None = None
    indexed_us: int | None = None
    again_after_s: float = 1.0


def survey_range(store: Store, subject: Subject, within: TokenRange, look: Look) -> Survey:
    """Survey one token range; each table is scanned once, and rows that seem to differ are read once more.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    examiner = _Examiner(store, subject, look)
    recheck = _Recheck(look.again_after_s)
    for merged in merge(
        store.scan(subject.source, within, **examiner.source_columns, batch_rows=look.window_rows),
        store.scan(subject.target, within, **examiner.target_columns, batch_rows=look.window_rows),
        schemas=(
            scan_schema(subject.source, **examiner.source_columns),
            scan_schema(subject.target, **examiner.target_columns),
        ),
        keys=subject.keys,
    ):
        recheck.add(examiner.sift(merged))
        if recheck.rows >= look.window_rows:
            examiner.read_again(recheck.ripe())
    examiner.read_again(recheck.ripe())
    return examiner.survey()


def survey_rows(store: Store, subject: Subject, doubtful: pa.RecordBatch, look: Look) -> Survey:
    """Survey rows that were in doubt, as ``survey_range`` does a range.

    A row is in doubt once more only if it was changed in the source since it was looked at before.

    Args:
        doubtful: a batch of ``Doubtful``.
    """
    examiner = _Examiner(store, subject, look)
    examiner.read_again(doubtful)
    return examiner.survey()


@dataclass(slots=True)
class _Recheck:
    """Keys of rows that seem to differ, and the one wait before they are read again.

    Args:
        wait_s: how old the newest of them must be when the first ones are read again.
    """

    wait_s: float
    rows: int = 0
    _keys: list[pa.RecordBatch] = field(default_factory=list)
    _seen_at: float = 0.0
    _waited: bool = False

    def add(self, keys: pa.RecordBatch) -> None:
        """Add the keys of a batch."""
        if keys.num_rows:
            self._keys.append(keys)
            self.rows += keys.num_rows
            self._seen_at = time.monotonic()

    def ripe(self) -> pa.RecordBatch | None:
        """All of them, after the wait; None if there are none."""
        if not self._keys:
            return None
        if not self._waited:
            time.sleep(max(0.0, self._seen_at + self.wait_s - time.monotonic()))
            self._waited = True
        keys, self._keys, self.rows = self._keys, [], 0
        return pa.concat_batches(keys)


class _Examiner:
    """Counts the rows of one range."""

    def __init__(self, store: Store, subject: Subject, look: Look) -> None:
        self._store, self._subject, self._look = store, subject, look
        self._template = Template.parse(subject.text)
        self._compared = Differences(subject, look.moment_us)
        self.source_columns: dict[str, list[str]] = {
            "values": list(dict.fromkeys([*subject.text_columns, *subject.carried])),
            "times": subject.carried,
        }
        text = [] if subject.target_digests else subject.text_columns
        self.target_columns = {
            "values": list(dict.fromkeys([*content_columns(subject), *text])),
            "times": [*subject.written, *subject.carried],
        }
        probes = np.empty((0, subject.dimension), np.float32) if look.probes is None else look.probes
        self._nearest = Nearest(subject.metric, probes, look.k)
        self._repeats = Repeats()
        self._content = Content()
        self._examples = Examples()
        self._doubtful = Doubtful()
        self._recent = Recent()
        self._counts: dict[str, int] = {}

    def survey(self) -> Survey:
        """Everything that was found."""
        self._repeats.consolidate()
        return Survey(
            self._nearest,
            **self._counts,
            repeats=self._repeats,
            content=self._content,
            examples=self._examples,
            doubtful=self._doubtful,
            recent=self._recent,
        )

    def sift(self, merged: Merged) -> pa.RecordBatch:
        """Count the rows that agree; return the keys of the rows that seem to differ."""
        pairs = merged.left, merged.right
        agree = ~(self._compared.stale(*pairs) | self._compared.older_cells(*pairs))
        agreeing, keys = pa.array(agree), self._subject.keys
        self._pairs(merged.left.filter(agreeing), merged.right.filter(agreeing))
        differing = [merged.left.filter(pa.array(~agree)), merged.left_only, merged.right_only]
        return pa.concat_batches([rows.select(keys) for rows in differing])

    def read_again(self, keys: pa.RecordBatch | None) -> None:
        """Fetch the rows that seemed to differ from both tables, and count them as they are now."""
        if keys is not None:
            for at in range(0, keys.num_rows, self._look.window_rows):
                window = keys.slice(at, self._look.window_rows)
                self._settle(self._fetched(window.select(self._subject.keys)), window)

    def _fetched(self, keys: pa.RecordBatch) -> Merged:
        right = self._store.fetch(self._subject.target, keys, **self.target_columns)
        left = self._store.fetch(self._subject.source, keys, **self.source_columns)
        return paired(left, right, self._subject.keys)

    def _settle(self, merged: Merged, window: pa.RecordBatch) -> None:
        parts = (merged.left, merged.left_only, merged.right_only)
        stale = self._compared.stale(merged.left, merged.right)
        older = self._compared.older_cells(merged.left, merged.right)
        doubt = self._doubt(merged, stale | older, window)
        kept = self._keep(parts, doubt)
        source, target = self._subject.source, self._subject.target
        self._fault("stale", target, merged.right, stale & ~doubt[0])
        self._fault("older_cells", target, merged.right, older & ~doubt[0])
        self._fault("missing", source, merged.left_only, ~doubt[1])
        self._fault("orphans", target, merged.right_only, ~doubt[2])
        for part, doubted, again in zip(parts, doubt, kept, strict=True):
            self._fault("unproved", source, part, doubted & ~again)
        stay = [pa.array(~again) for again in kept]
        self._pairs(merged.left.filter(stay[0]), merged.right.filter(stay[0]))
        self._source(merged.left_only.filter(stay[1]))
        self._target(merged.right_only.filter(stay[2]))
        differing = int((stale | older).sum()) + merged.left_only.num_rows + merged.right_only.num_rows
        self._count("in_flight", window.num_rows - differing)

    def _doubt(self, merged: Merged, differ: NDArray[np.bool_], window: pa.RecordBatch) -> list[NDArray[np.bool_]]:
        """Which pairs, rows of the source alone and rows of the target alone may differ only since the look before."""
        parts = (merged.left, merged.left_only, merged.right_only)
        if self._look.moment_us is None:
            return [np.zeros(rows.num_rows, np.bool_) for rows in parts]
        if SEEN in window.schema.names:
            changed = [self._changed(rows, window, absent=rows is merged.right_only) for rows in parts]
            return [differ & changed[0], *changed[1:]]
        pairs = differ & (self._compared.young(merged.left) | self._compared.erased(merged.left, merged.right))
        # A deletion has no time, so what only the target has is always in doubt.
        return [pairs, self._compared.young(merged.left_only), np.ones(merged.right_only.num_rows, np.bool_)]

    def _changed(self, rows: pa.RecordBatch, window: pa.RecordBatch, *, absent: bool) -> NDArray[np.bool_]:
        """Which rows are not in the source as they were when they were looked at before."""
        keys = self._subject.keys
        place = pc.index_in(key_array(rows, keys), value_set=key_array(window, keys))
        return as_mask(pc.not_equal(self._seen(rows, absent=absent), window.column(SEEN).take(place)))

    def _seen(self, rows: pa.RecordBatch, *, absent: bool) -> pa.Array:
        """A hash of what the source has of each row; no bytes if it lacks them."""
        if absent:
            return pa.array([b""] * rows.num_rows, pa.binary())
        times = [rows.column(write_time(name)) for name in self._subject.carried]
        if not times:
            return pa.array([b"there"] * rows.num_rows, pa.binary())
        return pa.array(hash_values([rows.column(name) for name in self._subject.carried] + times), pa.binary())

    def _keep(self, parts: tuple[pa.RecordBatch, ...], doubt: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
        """Which of the rows in doubt are kept for another look; the others are not proved."""
        kept = []
        for at, (rows, doubted) in enumerate(zip(parts, doubt, strict=True)):
            room = 0 if self._look.last else DOUBTFUL_MAX - self._doubtful.rows
            kept.append(doubted & (np.cumsum(doubted) <= room))
            if kept[-1].any():
                again = rows.filter(pa.array(kept[-1]))
                seen = self._seen(again, absent=at == len(parts) - 1)
                self._doubtful += Doubtful((again.select(self._subject.keys).append_column(SEEN, seen),))
        return kept

    def _pairs(self, left: pa.RecordBatch, right: pa.RecordBatch) -> None:
        without = pc.and_(pc.invert(self._template.empty(left)), pc.is_null(right.column(self._subject.target_vector)))
        self._fault("without_vector", self._subject.target, right, as_mask(without))
        self._source(left)
        self._target(right)

    def _source(self, rows: pa.RecordBatch) -> None:
        self._count("source_rows", rows.num_rows)
        told = rows.filter(pc.invert(self._template.empty(rows)))
        self._count("with_text", told.num_rows)
        if self._look.cut is not None and told.num_rows:
            self._count("cut", self._look.cut(self._template.render(told)))

    def _target(self, rows: pa.RecordBatch) -> None:
        self._count("target_rows", rows.num_rows)
        if rows.num_rows == 0:
            return
        self._content += content_of_rows(self._subject, rows)
        have = rows.filter(pc.is_valid(rows.column(self._subject.target_vector)))
        self._count("vectors", have.num_rows)
        if have.num_rows == 0:
            return
        self._vectors(have)

    def _vectors(self, rows: pa.RecordBatch) -> None:
        column = rows.column(self._subject.target_vector)
        if column.type.list_size != self._subject.dimension:
            self._fault("wrong_dimension", self._subject.target, rows)
            return
        vectors = matrix(column)
        finite = all_finite(vectors)
        self._fault("nonfinite", self._subject.target, rows, ~finite)
        if self._subject.normalized:
            lengths = np.linalg.norm(np.where(finite[:, None], vectors, 0).astype(np.float64), axis=1)
            self._fault("not_unit", self._subject.target, rows, finite & (np.abs(lengths - 1) > _NORM_TOLERANCE))
        self._recently(rows.filter(pa.array(finite)))
        hashes = hash_vectors(vectors)
        self._named(rows, hashes)
        self._repeats.add(hashes, self._compared.digests(rows).to_pylist())
        self._nearest.update(vectors, row_keys(self._subject.target, rows))

    def _recently(self, rows: pa.RecordBatch) -> None:
        """Keep some of the rows whose vectors were written since the index was built."""
        if self._look.indexed_us is None:
            return
        vector = self._subject.target_vector
        young = pc.greater_equal(rows.column(write_time(vector)), self._look.indexed_us)
        rows = rows.filter(pc.fill_null(young, False)).select([*self._subject.keys, vector])
        if rows.num_rows:
            self._recent += Recent(rows.num_rows, (rows,))

    def _named(self, rows: pa.RecordBatch, hashes: NDArray[np.uint64]) -> None:
        """Compare vectors with what their digests say of them."""
        if not self._subject.target_digests:
            self._count("unnamed", rows.num_rows)
            return
        others, unnamed = mismatched(rows.column(DIGEST), hashes)
        times = [rows.column(write_time(name)) for name in self._subject.written]
        apart = pc.and_(pc.is_valid(rows.column(DIGEST)), pc.fill_null(pc.not_equal(*times), True))
        self._fault("mixed", self._subject.target, rows, others | (unnamed & as_mask(apart)))
        self._count("unnamed", int(unnamed.sum()))

    def _count(self, name: str, number: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + number

    def _fault(self, name: str, table: Table, rows: pa.RecordBatch, where: NDArray[np.bool_] | None = None) -> None:
        faulty = rows if where is None else rows.filter(pa.array(where))
        self._count(name, faulty.num_rows)
        if faulty.num_rows and len(self._examples.of.get(name, ())) < EXAMPLES_MAX:
            self._examples += Examples({name: tuple(json_keys(table, faulty, EXAMPLES_MAX))})
