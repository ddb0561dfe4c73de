"""Dead letters: rows that could not be embedded or written, with the reason, never with their text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embedshift.catalog.tables import BUCKETS, DEAD_LETTER
from embedshift.stores.contract import Store
from embedshift.times import now_us
from embedshift.tokens import TokenRange


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is not in the target. ``id`` is its primary key as JSON, ``updated_us`` when it was recorded."""

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
        return self.step.rpartition("/")[2] == "client"


def write_dead_letters(store: Store, migration: str, letters: Sequence[DeadLetter]) -> None:
    """Record dead letters; an earlier letter of the same row is replaced."""
    store.records.put(
        DEAD_LETTER,
        [
            {
                "migration": migration,
                "bucket": zlib.crc32(letter.id.encode()) % BUCKETS,
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


def read_dead_letters(store: Store, migration: str) -> Iterator[DeadLetter]:
    """Every dead letter of a migration."""
    for bucket in range(BUCKETS):
        for row in store.records.select(DEAD_LETTER, {"migration": migration, "bucket": bucket}):
            token_range = TokenRange(row["range_start"], row["range_end"])
            yield DeadLetter(row["id"], token_range, row["step"], row["reason"], row["attempts"], row["updated_us"])


def drop_dead_letter(store: Store, migration: str, letter: str) -> None:
    """Forget the dead letter of one row."""
    bucket = zlib.crc32(letter.encode()) % BUCKETS
    store.records.delete(DEAD_LETTER, {"migration": migration, "bucket": bucket, "id": letter})
