"""Dead letters: rows that could not be embedded or written, with the reason, never with their text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from embedshift.catalog.tables import BUCKETS, DEAD_LETTER
from embedshift.errors import NotPermitted
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us
from embedshift.tokens import TokenRange

#: Partitions of a migration's dead letters: the first half of those on the way there, the others of the way back.
LETTER_BUCKETS = 2 * BUCKETS


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is not in the target, or of which a client could not delete or change something there.

    ``id`` is its primary key as JSON, ``updated_us`` when it was recorded. ``step`` is what failed: a step's own name,
    or what ``client_step`` says.
    """

    id: str
    range: TokenRange
    step: str
    reason: str
    attempts: int
    updated_us: int = 0

    @property
    def of_way_back(self) -> bool:
        """Whether the row failed on the way from the target back to the source."""
        return self.step.startswith("back/")

    @property
    def of_client(self) -> bool:
        """Whether a client that could not write both tables left it; the next pass of sync then repairs the row."""
        return "client" in self.step.split("/")

    @property
    def deletes(self) -> bool:
        """Whether what failed there was a deletion; else it was a write."""
        return "delete" in self.step.split("/")

    @property
    def at_us(self) -> int:
        """The write time, in microseconds, of what a client could not do there; 0 if the letter does not say."""
        last = self.step.rpartition("/")[2]
        return int(last) if self.of_client and last.isdecimal() else 0


def client_step(operation: str, at_us: int, *, of_way_back: bool) -> str:
    """The step of a letter that a client leaves: ``client/put/1700000000000000``, or with ``back/`` before it.

    Args:
        operation: ``put`` or ``delete``.
        at_us: with which write time.
        of_way_back: whether the other table is the one that was left by the last switch.
    """
    return f"{'back/' if of_way_back else ''}client/{operation}/{at_us}"


def write_dead_letters(store: Store, migration: str, letters: Sequence[DeadLetter]) -> None:
    """Record dead letters; an earlier letter of the same row, in the same direction, is replaced."""
    store.records.put(
        DEAD_LETTER,
        [
            {
                "migration": migration,
                "bucket": _bucket(letter.id, of_way_back=letter.of_way_back),
                "id": letter.id,
                "range_start": letter.range.start,
                "range_end": letter.range.end,
                "step": letter.step,
                "reason": letter.reason,
                "attempts": letter.attempts,
                "updated_us": now_us(),
            }
            for letter in letters
        ],
    )


def write_client_letters(store: Store, migration: str, letters: Sequence[DeadLetter]) -> None:
    """Record what a client could not do; a letter of the same row that tells of something later stays."""
    for letter in letters:
        bucket = _bucket(letter.id, of_way_back=letter.of_way_back)
        key = {"migration": migration, "bucket": bucket, "id": letter.id}
        former = None
        with suppress(NotPermitted):  # an application that may write letters, and not read them
            former = next(map(_letter, store.records.select(DEAD_LETTER, key)), None)
        if former is None or former.at_us <= letter.at_us:
            write_dead_letters(store, migration, [letter])


def read_dead_letters(store: Store, migration: str) -> Iterator[DeadLetter]:
    """Every dead letter of a migration."""
    for bucket in range(LETTER_BUCKETS):
        for row in store.records.select(DEAD_LETTER, {"migration": migration, "bucket": bucket}):
            yield _letter(row)


def _letter(row: Record) -> DeadLetter:
    token_range = TokenRange(row["range_start"], row["range_end"])
    return DeadLetter(row["id"], token_range, row["step"], row["reason"], row["attempts"], row["updated_us"])


def drop_dead_letter(store: Store, migration: str, letter: str, *, of_way_back: bool | None = None) -> None:
    """Forget the dead letter of one row; of both directions, if none is named."""
    for way in (False, True):
        key = {"migration": migration, "bucket": _bucket(letter, of_way_back=way), "id": letter}
        for found in map(_letter, list(store.records.select(DEAD_LETTER, key))):
            # A former version wrote those of the way back among the others.
            if of_way_back in (None, found.of_way_back):
                store.records.delete(DEAD_LETTER, key)


def _bucket(id_: str, *, of_way_back: bool) -> int:
    """A row may have a letter of either direction, so each direction has buckets of its own."""
    return zlib.crc32(id_.encode()) % BUCKETS + BUCKETS * of_way_back
