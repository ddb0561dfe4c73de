"""Signals for running steps, which operators send from any terminal or machine, and signals that steps send."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embedshift.catalog.actor import new_run
from embedshift.catalog.tables import CONTROL
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us

#: A cutover waits for release; it is released.
HOLD, GO = "hold", "go"
#: Which step the owning run is at.
STEP = "step"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal: its text, when it was sent (microseconds since the epoch), and who sent it."""

    text: str
    sent_us: int
    sent_by: str


def send(store: Store, migration: str, name: str, text: str = "") -> Signal:
    """Send a signal under a name; it replaces the one before."""
    signal = Signal(text, now_us(), new_run())
    row = {"migration": migration, "name": name, "value": text, "set_us": signal.sent_us, "set_by": signal.sent_by}
    store.records.put(CONTROL, [row])
    return signal


def read_signal(store: Store, migration: str, name: str) -> Signal | None:
    """The signal under a name; None if there is none, or no table yet."""
    if not store.records.has(CONTROL):
        return None
    row = store.records.get(CONTROL, {"migration": migration, "name": name})
    return None if row is None else _signal(row)


def peek_signal(store: Store, migration: str, name: str) -> Signal | None:
    """The same in one read at a quorum, for callers that poll. The table must exist."""
    return next(map(_signal, store.records.select(CONTROL, {"migration": migration, "name": name})), None)


def signals_under(store: Store, migration: str, prefix: str) -> dict[str, Signal]:
    """All signals whose name begins with the prefix, by name."""
    if not store.records.has(CONTROL):
        return {}
    rows = store.records.select(CONTROL, {"migration": migration})
    return {row["name"]: _signal(row) for row in rows if row["name"].startswith(prefix)}


def withdraw_signals(store: Store, migration: str, names: Iterable[str]) -> None:
    """Remove signals, whether they exist or not."""
    for name in names:
        store.records.delete(CONTROL, {"migration": migration, "name": name})


def _signal(row: Record) -> Signal:
    return Signal(row["value"], row["set_us"], row["set_by"])
