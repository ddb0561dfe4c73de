"""Words that operators leave for running steps, from whatever terminal or machine, and that steps leave for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.catalog.alias import whoami
from jobs.catalog.tables import CONTROL, now_us
from jobs.stores.contract import Store
from jobs.stores.record import Record

#: Names of words: a cutover waits; it may go.
HOLD, GO = "hold", "go"
#: The word of the run that owns the migration: which step it runs.
STEP = "step"


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text, when it was said (microseconds since the epoch), and by whom."""

    text: str
    said_us: int
    said_by: str


def say_word(store: Store, migration: str, name: str, text: str = "") -> Word:
    """Leave a word under a name, over the one before."""
    word = Word(text, now_us(), whoami())
    row = {"migration": migration, "name": name, "value": text, "set_us": word.said_us, "set_by": word.said_by}
    store.records.put(CONTROL, [row])
    return word


def read_word(store: Store, migration: str, name: str) -> Word | None:
    """The word under a name; None where there is none, or no table for any."""
    if not store.records.has(CONTROL):
        return None
    row = store.records.get(CONTROL, {"migration": migration, "name": name})
    return None if row is None else _word(row)


def peek_word(store: Store, migration: str, name: str) -> Word | None:
    """The same at a quorum and in one read, for the many that look again and again. The table must be there."""
    return next(map(_word, store.records.select(CONTROL, {"migration": migration, "name": name})), None)


def words_under(store: Store, migration: str, prefix: str) -> dict[str, Word]:
    """All words whose name begins so, by name."""
    if not store.records.has(CONTROL):
        return {}
    rows = store.records.select(CONTROL, {"migration": migration})
    return {row["name"]: _word(row) for row in rows if row["name"].startswith(prefix)}


def take_back(store: Store, migration: str, name: str) -> None:
    """Remove a word."""
    store.records.delete(CONTROL, {"migration": migration, "name": name})


def forget_words(store: Store, migration: str, names: Iterable[str]) -> None:
    """Remove words, whether they are there or not."""
    for name in names:
        take_back(store, migration, name)


def _word(row: Record) -> Word:
    return Word(row["value"], row["set_us"], row["set_by"])
