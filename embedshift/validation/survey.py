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

from embedshift.embedding import DIGEST, Template, digest_texts
from embedshift.stores.contract import Store
from embedshift.stores.merge_join import Merged, merge, paired, scan_schema
from embedshift.stores.model import Table, remaining_ttl, write_time
from embedshift.tokens import TokenRange
from embedshift.validation.content_hash import Content, content_columns, content_of_rows
from embedshift.validation.duplicates import Repeats
from embedshift.validation.exact_knn import Nearest, all_finite, matrix
from embedshift.validation.survey_result import EXAMPLES_MAX, Examples, Survey
from embedshift.validation.table_pair import Subject, json_keys, row_keys
from embedshift.validation.truncation import Cut


@dataclass(slots=True)
class Recheck:
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


__all__ = ["Survey", "survey_range"]
#: Waits between further checks of a difference, as shares of the wait before the second reading. What was written
#: between the readings of both tables is gone at the next check; a row that is written many times per second needs
#: several checks, until one falls between two writes.
_RESTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
#: The limit for all waits in one range together, also as a share: if a table really differs, not every window can wait.
_RESTS_MOST = 3.0
_NORM_TOLERANCE = 1e-3


def survey_range(
    store: Store,
    subject: Subject,
    within: TokenRange,
    *,
    window_rows: int = 1000,
    probes: NDArray[np.float32] | None = None,
    k: int = 100,
    cut: Cut | None = None,
    look_again_after_s: float = 1.0,
) -> Survey:
    """Survey one token range; each table is scanned once.

    A live table changes while it is read. So a row that seems missing, orphaned or stale, or has older cells, is
    fetched again from both tables, several times, and counts as it is at the last reading. The first such rows are
    fetched at least ``look_again_after_s`` later.

    Args:
        window_rows: rows of either table held at once, and differences held for the second reading.
        probes: shape (n, dimension), float32: vectors whose exact neighbours are wanted.
        k: how many neighbours of each probe.
        cut: counts the texts that are longer than the target's model reads.
        look_again_after_s: how long to wait before the second reading, at most once and only if needed. The waits
            between further readings are derived from it.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    started = _Examiner(store, subject, probes, k, cut, look_again_after_s)
    recheck = Recheck(look_again_after_s)
    for merged in merge(
        store.scan(subject.source, within, **started.source_columns, batch_rows=window_rows),
        store.scan(subject.target, within, **started.target_columns, batch_rows=window_rows),
        schemas=(
            scan_schema(subject.source, **started.source_columns),
            scan_schema(subject.target, **started.target_columns),
        ),
        keys=subject.keys,
    ):
        recheck.add(started.sift(merged))
        if recheck.rows >= window_rows:
            started.look_again(recheck.ripe(), window_rows)
    started.look_again(recheck.ripe(), window_rows)
    return started.survey()


class _Examiner:
    """Counts the rows of one range."""

    def __init__(
        self,
        store: Store,
        subject: Subject,
        probes: NDArray[np.float32] | None,
        k: int,
        cut: Cut | None,
        wait_s: float,
    ) -> None:
        self._store = store
        self._cut = cut
        self._wait_s, self._rest_left_s = wait_s, _RESTS_MOST * wait_s
        self._subject = subject
        self._template = Template.parse(subject.text)
        target = content_columns(subject)
        text = [] if subject.target_digests else subject.text_columns
        self.source_columns: dict[str, list[str]] = {
            "values": [*subject.text_columns, *subject.many_celled],
            "times": subject.carried,
        }
        self.target_columns = {
            "values": [subject.target_vector, *target["values"], *text, *subject.many_celled],
            "times": [*target["times"], *subject.carried],
        }
        if probes is None:
            probes = np.empty((0, subject.dimension), np.float32)
        self._nearest = Nearest(subject.metric, probes, k)
        self._repeats = Repeats()
        self._content = Content()
        self._examples = Examples()
        self._counts: dict[str, int] = {}

    def survey(self) -> Survey:
        """Everything that was found."""
        self._repeats.consolidate()
        return Survey(
            self._nearest, **self._counts, repeats=self._repeats, content=self._content, examples=self._examples
        )

    def sift(self, merged: Merged) -> pa.RecordBatch:
        """Count the rows that agree; return the keys of the rows that seem to differ."""
        agree = ~(self._stale(merged.left, merged.right) | self._older_cells(merged.left, merged.right))
        agreeing, keys = pa.array(agree), self._subject.keys
        self._pairs(merged.left.filter(agreeing), merged.right.filter(agreeing))
        differing = [merged.left.filter(pa.array(~agree)), merged.left_only, merged.right_only]
        return pa.concat_batches([rows.select(keys) for rows in differing])

    def look_again(self, keys: pa.RecordBatch | None, window_rows: int) -> None:
        """Fetch the rows that seemed to differ from both tables, and count them as they are now."""
        if keys is None:
            return
        for at in range(0, keys.num_rows, window_rows):
            doubtful = keys.slice(at, window_rows)
            for share in _RESTS:
                left = self.sift(self._fetched(doubtful))
                self._count("in_flight", doubtful.num_rows - left.num_rows)
                doubtful = left
                if not doubtful.num_rows or not self._rested(share * self._wait_s):
                    break
            if doubtful.num_rows:
                self._settle(self._fetched(doubtful), doubtful.num_rows)

    def _rested(self, rest_s: float) -> bool:
        """Wait before a further reading; False if the limit is reached."""
        if rest_s > self._rest_left_s:
            return False
        self._rest_left_s -= rest_s
        time.sleep(rest_s)
        return True

    def _fetched(self, keys: pa.RecordBatch) -> Merged:
        right = self._store.fetch(self._subject.target, keys, **self.target_columns)
        left = self._store.fetch(self._subject.source, keys, **self.source_columns)
        return paired(left, right, self._subject.keys)

    def _settle(self, merged: Merged, doubtful: int) -> None:
        stale, older = self._stale(merged.left, merged.right), self._older_cells(merged.left, merged.right)
        self._pairs(merged.left, merged.right)
        self._fault("stale", self._subject.target, merged.right, stale)
        self._fault("older_cells", self._subject.target, merged.right, older)
        self._fault("missing", self._subject.source, merged.left_only)
        self._fault("orphans", self._subject.target, merged.right_only)
        self._source(merged.left_only)
        self._target(merged.right_only)
        faults = int((stale | older).sum()) + merged.left_only.num_rows + merged.right_only.num_rows
        self._count("in_flight", doubtful - faults)

    def _pairs(self, left: pa.RecordBatch, right: pa.RecordBatch) -> None:
        without = pc.and_(pc.invert(self._template.empty(left)), pc.is_null(right.column(self._subject.target_vector)))
        self._fault("without_vector", self._subject.target, right, _mask(without))
        self._source(left)
        self._target(right)

    def _stale(self, left: pa.RecordBatch, right: pa.RecordBatch) -> NDArray[np.bool_]:
        """Where the target's vector, by its digest, is not that of the source's text; shape (pairs,)."""
        if left.num_rows == 0:
            return np.zeros(0, np.bool_)
        empty = self._template.empty(left)
        wanted = digest_texts(self._subject.fingerprint, self._template.render(left), empty)
        differs = pc.fill_null(pc.not_equal(wanted, self._digests(right)), True)
        # A vector that is left when the text was emptied is still found by searches.
        left_behind = pc.and_(empty, pc.is_valid(right.column(self._subject.target_vector)))
        return _mask(pc.or_(differs, left_behind))

    def _older_cells(self, left: pa.RecordBatch, right: pa.RecordBatch) -> NDArray[np.bool_]:
        """Where a copied cell is older in the target, lacks its expiry, or is on one side only; shape (pairs,).

        A newer cell in the target was written by the application.
        """
        found = np.zeros(left.num_rows, np.bool_)
        for name in self._subject.carried:
            ours, theirs = left.column(write_time(name)), right.column(write_time(name))
            older = pc.fill_null(pc.greater(ours, theirs), False)
            one_sided = pc.xor(pc.is_valid(ours), pc.is_valid(theirs))
            expiring = [pc.is_valid(rows.column(remaining_ttl(name))) for rows in (left, right)]
            lost_expiry = pc.and_(pc.fill_null(pc.equal(ours, theirs), False), pc.xor(*expiring))
            found |= _mask(pc.or_(pc.or_(older, one_sided), lost_expiry))
        for name in self._subject.many_celled:
            # The newest time of a collection's elements does not change if another element is removed.
            found |= _mask(pc.fill_null(pc.not_equal(left.column(name), right.column(name)), False))
        return found

    def _digests(self, target: pa.RecordBatch) -> pa.Array:
        if self._subject.target_digests:
            return target.column(DIGEST)
        # A table without digests is trusted: its vectors count as those of its own texts.
        texts, empty = self._template.render(target), self._template.empty(target)
        return digest_texts(self._subject.fingerprint, texts, empty)

    def _source(self, rows: pa.RecordBatch) -> None:
        self._count("source_rows", rows.num_rows)
        told = rows.filter(pc.invert(self._template.empty(rows)))
        self._count("with_text", told.num_rows)
        if self._cut is not None and told.num_rows:
            self._count("cut", self._cut(self._template.render(told)))

    def _target(self, rows: pa.RecordBatch) -> None:
        self._count("target_rows", rows.num_rows)
        if rows.num_rows == 0:
            return
        self._content += content_of_rows(self._subject, rows)
        have = rows.filter(pc.is_valid(rows.column(self._subject.target_vector)))
        self._count("vectors", have.num_rows)
        if have.num_rows == 0:
            return
        if self._subject.target_digests:
            times = [have.column(write_time(name)) for name in self._subject.written]
            apart = pc.and_(pc.is_valid(have.column(DIGEST)), pc.fill_null(pc.not_equal(*times), True))
            self._fault("written_apart", self._subject.target, have, _mask(apart))
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
        self._repeats.add(vectors, self._digests(rows).to_pylist())
        self._nearest.update(vectors, row_keys(self._subject.target, rows))

    def _count(self, name: str, number: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + number

    def _fault(self, name: str, table: Table, rows: pa.RecordBatch, where: NDArray[np.bool_] | None = None) -> None:
        faulty = rows if where is None else rows.filter(pa.array(where))
        self._count(name, faulty.num_rows)
        if faulty.num_rows and len(self._examples.of.get(name, ())) < EXAMPLES_MAX:
            self._examples += Examples({name: tuple(json_keys(table, faulty, EXAMPLES_MAX))})


def _mask(boolean: pa.Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = boolean.to_numpy(zero_copy_only=False)
    return mask.astype(bool)
