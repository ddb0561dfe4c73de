"""The token ranges of a step: one row each, planned, done or failed. What is done stays done in any later plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from operator import add

from embedshift.catalog.tables import BUCKETS, RANGE
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us
from embedshift.tokens import TokenRange, uncovered, unite

#: Rows written or deleted at once: limits the requests in memory, and the time for which a file is locked.
_ROWS_AT_ONCE = 5_000
#: The columns of a row with its counts, in the order of ``Counts``.
_COUNTED = ("rows_read", "written", "unchanged", "dead", "deleted", "shadowed")


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to the rows of a range. Balanced if ``read == written + unchanged + dead``.

    ``deleted`` are rows of the target that the source does not have. ``shadowed`` are rows that were written but are
    hidden by a newer delete.
    """

    read: int = 0
    written: int = 0
    unchanged: int = 0
    dead: int = 0
    deleted: int = 0
    shadowed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(add, astuple(self), astuple(other)))

    @property
    def balanced(self) -> bool:
        """Whether every row that was read is accounted for."""
        return self.read == self.written + self.unchanged + self.dead

    @property
    def difference(self) -> int:
        """Rows in which source and target differed and that could be repaired."""
        return self.written + self.deleted - self.shadowed

    def summary(self) -> dict[str, int]:
        """The counts for the result of a step."""
        tree = asdict(self)
        return {"rows": tree.pop("read"), **tree}


@dataclass(frozen=True, slots=True)
class RangeRecord:
    """One range of a step.

    ``state`` is planned, done or failed; ``seconds`` is how long the range took, ``ended_us`` when its row was written.
    """

    range: TokenRange
    state: str = "planned"
    counts: Counts = Counts()
    attempts: int = 0
    owner: str = ""
    error: str = ""
    seconds: float = 0.0
    ended_us: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """The totals over the ranges of a step.

    ``under_way`` are the rows that tasks have behind them in ranges that are not done; ``doing`` is what they do.
    """

    ranges: int
    done: int
    failed: int
    counts: Counts
    under_way: int = 0
    doing: str = ""

    @property
    def rows(self) -> int:
        """Rows of the ranges that are done and of those under way."""
        return self.counts.read + self.under_way

    @property
    def dead(self) -> int:
        """Dead rows of the ranges that are done."""
        return self.counts.dead

    @property
    def complete(self) -> bool:
        """Whether every planned range is done."""
        return self.ranges > 0 and self.done == self.ranges


def bucket_of(range_start: int) -> int:
    """The bucket of the catalog in which a range lies, 0 to BUCKETS - 1."""
    # The high bits of a token are its place on the ring; a multiplicative hash separates neighbours.
    return ((range_start & (2**64 - 1)) * 0x9E3779B97F4A7C15 >> 32) % BUCKETS


def _row(migration: str, step: str, record: RangeRecord) -> Record:
    return {
        "migration": migration,
        "step": step,
        "bucket": bucket_of(record.range.start),
        "range_start": record.range.start,
        "range_end": record.range.end,
        "state": record.state,
        **dict(zip(_COUNTED, astuple(record.counts), strict=True)),
        "attempts": record.attempts,
        "owner": record.owner,
        "error": record.error,
        "seconds": record.seconds,
        "updated_us": now_us(),
    }


def _record(row: Record) -> RangeRecord:
    counts = Counts(*(row[name] for name in _COUNTED))
    return RangeRecord(
        TokenRange(row["range_start"], row["range_end"]),
        row["state"],
        counts,
        row["attempts"],
        row["owner"],
        row["error"],
        row["seconds"],
        row["updated_us"],
    )


def read_bucket(store: Store, migration: str, step: str, bucket: int) -> Iterator[RangeRecord]:
    """The ranges of a step in one of the ``BUCKETS`` partitions."""
    return map(_record, store.records.select(RANGE, {"migration": migration, "step": step, "bucket": bucket}))


def write_ranges(store: Store, migration: str, step: str, records: Sequence[RangeRecord]) -> None:
    """Write the rows of ranges, over any rows with the same start."""
    for at in range(0, len(records), _ROWS_AT_ONCE):
        rows = [_row(migration, step, record) for record in records[at : at + _ROWS_AT_ONCE]]
        store.records.put(RANGE, rows)


def read_ranges(store: Store, migration: str, step: str) -> Iterator[RangeRecord]:
    """Every range of a step, in no particular order."""
    return map(_record, _rows(store, migration, step))


def _rows(store: Store, migration: str, step: str) -> Iterator[Record]:
    for bucket in range(BUCKETS):
        yield from store.records.select(RANGE, {"migration": migration, "step": step, "bucket": bucket})


def progress(store: Store, migration: str, step: str) -> Progress:
    """Count the ranges of a step and what happened to their rows."""
    states = {"planned": 0, "done": 0, "failed": 0}
    sums = [0] * len(_COUNTED)
    # Called every second for perhaps a hundred thousand rows, so it creates no object per row.
    for row in _rows(store, migration, step):
        state = row["state"]
        states[state] += 1
        if state == "done":
            for at, name in enumerate(_COUNTED):
                sums[at] += row[name]
    return Progress(sum(states.values()), states["done"], states["failed"], Counts(*sums))


def open_ranges(store: Store, migration: str, step: str, plan: Iterable[TokenRange]) -> list[RangeRecord]:
    """Plan what is not covered yet. A range that is done stays done, even if the ring is cut differently now.

    A done range with dead letters is planned again: a later run tries these rows again.

    Args:
        plan: how to cut the ring; a piece that is partly covered is cut down to the rest.

    Returns:
        The planned ranges, in ring order.
    """
    known = list(read_ranges(store, migration, step))
    done = [record for record in known if record.state == "done" and not record.counts.dead]
    covered = unite(record.range for record in done)
    planned = [RangeRecord(part) for part in uncovered(plan, covered)]
    # First the new rows, then the old ones are removed: a run killed in between has planned too much, never too little.
    write_ranges(store, migration, step, planned)
    kept = {record.range.start for record in (*done, *planned)}
    _forget(store, migration, step, [record for record in known if record.range.start not in kept])
    return planned


def split_failed(store: Store, migration: str, step: str, records: Iterable[RangeRecord]) -> list[RangeRecord]:
    """Halve the ranges that failed, so that the next try reads less at once; the halves keep the count of attempts.

    Returns:
        The records, with halves in place of the failed ranges.
    """
    planned: list[RangeRecord] = []
    halves: list[RangeRecord] = []
    for record in records:
        if record.state != "failed":
            planned.append(record)
            continue
        parts = record.range.split(2 if record.range.width > 1 else 1)
        halves += [replace(record, range=part, state="planned") for part in parts]
    write_ranges(store, migration, step, halves)
    return planned + halves


def forget_step(store: Store, migration: str, step: str) -> None:
    """Remove the rows of a step that is over."""
    buckets = ({"migration": migration, "step": step, "bucket": bucket} for bucket in range(BUCKETS))
    store.records.delete(RANGE, *buckets)


def _forget(store: Store, migration: str, step: str, records: Sequence[RangeRecord]) -> None:
    for at in range(0, len(records), _ROWS_AT_ONCE):
        starts = [record.range.start for record in records[at : at + _ROWS_AT_ONCE]]
        keys = [
            {"migration": migration, "step": step, "bucket": bucket_of(start), "range_start": start} for start in starts
        ]
        store.records.delete(RANGE, *keys)
