"""Words that operators leave for running steps, from whatever terminal or machine, and that steps leave for them."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.catalog.alias import whoami
from jobs.catalog.tables import CONTROL, now_us
from jobs.stores.contract import Store

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
    return None if row is None else Word(row["value"], row["set_us"], row["set_by"])


def take_back(store: Store, migration: str, name: str) -> None:
    """Remove a word."""
    store.records.delete(CONTROL, {"migration": migration, "name": name})
