"""How fast a running migration may go: what operators and settings ask, what its tasks are told, what they report.

Operators send signals (``pause``, ``throttle``). The run that owns the migration makes a ``ThrottleState`` of them for
its tasks, again whenever something changes; a task that the limit of latency has slowed down sends a signal of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from embedshift.catalog.actor import whoami
from embedshift.catalog.migration import Migration, is_owned
from embedshift.catalog.signals import Signal, peek_signal, read_signal, send, signals_under, withdraw_signals
from embedshift.settings import ThrottleSettings
from embedshift.stores.contract import Store
from embedshift.times import now_us, parse_window, utc_iso

#: Names of signals: a pause, limits; what the tasks of a run are told, and what a task tells, each followed by its
#: sender.
PAUSE, THROTTLE, STATE, SLOWED = "pause", "throttle", "throttle-state/", "slowed/"
#: A report that was not renewed for so long is none.
_REPORT_US = 15_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a whole run; None: no such limit. ``between`` is as ``times.parse_window`` reads it."""

    rows_per_second: float | None = None
    max_latency_ms: float | None = None
    between: str | None = None

    @classmethod
    def of(cls, signal: Signal | None, settings: ThrottleSettings) -> Limits:
        """What an operator asked for last, and the settings for the rest."""
        latency = settings.max_latency
        usual = cls(
            settings.rows_per_second, None if latency is None else latency / timedelta(milliseconds=1), settings.between
        )
        return cls(**{**asdict(usual), **(json.loads(signal.text) if signal else {})})

    def lines(self) -> list[str]:
        """Each limit for people."""
        lines = []
        if self.rows_per_second is not None:
            lines.append(f"at most {self.rows_per_second:,g} rows/s")
        if self.max_latency_ms is not None:
            lines.append(f"p99 of writes at most {self.max_latency_ms:g} ms")
        if self.between is not None:
            lines.append(f"only {self.between}")
        return lines


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """What each task of a run is to do: wait, if there is a reason to, or go on within its share of the limits."""

    wait: str = ""
    rows_per_second: float | None = None
    max_latency_ms: float | None = None

    @property
    def limits(self) -> bool:
        """Whether it holds anything up."""
        return self != ThrottleState()

    def to_json(self) -> str:
        """The text of the signal."""
        return json.dumps(asdict(self))


def requested(store: Store, migration: str, settings: ThrottleSettings) -> tuple[Signal | None, Limits]:
    """The pause that somebody asked for, and the limits that hold."""
    return read_signal(store, migration, PAUSE), Limits.of(read_signal(store, migration, THROTTLE), settings)


def reason_to_wait(paused: Signal | None, limits: Limits, now: datetime) -> str:
    """Why nothing may be carried now; empty if it may."""
    if paused is not None:
        return f"paused by {person(paused)} since {utc_iso(paused.sent_us)}"
    window = parse_window(limits.between) if limits.between else None
    if window is not None and not window.is_open(now):
        return f"outside {window}, goes on at {window.opens(now):%H:%M}"
    return ""


def throttle_state(paused: Signal | None, limits: Limits, now: datetime, tasks: int) -> ThrottleState:
    """The state for each of a number of tasks that run side by side."""
    share = None if limits.rows_per_second is None else limits.rows_per_second / tasks
    return ThrottleState(reason_to_wait(paused, limits, now), share, limits.max_latency_ms)


def publish(store: Store, migration: str, run: str, state: ThrottleState) -> None:
    """Tell the tasks of a run. Each run has a signal of its own: one that was killed must not speak for the next."""
    send(store, migration, STATE + run, state.to_json())


def read_published(store: Store, migration: str, run: str) -> ThrottleState:
    """What the tasks of a run are told now: one quick read."""
    signal = peek_signal(store, migration, STATE + run)
    return ThrottleState() if signal is None else ThrottleState(**json.loads(signal.text))


def withdraw(store: Store, migration: str) -> None:
    """The run is over: remove its state, that of any run before it, and what tasks reported."""
    for each in (STATE, SLOWED):
        withdraw_signals(store, migration, signals_under(store, migration, each))


def report_slowed(store: Store, migration: str, p99_ms: float, limit_ms: float) -> None:
    """A task's own signal: the latency for which it slowed down."""
    send(store, migration, SLOWED + whoami(), json.dumps({"p99_ms": p99_ms, "limit_ms": limit_ms}))


def report_free(store: Store, migration: str) -> None:
    """The task that reported goes at full speed again."""
    withdraw_signals(store, migration, [SLOWED + whoami()])


def throttle_of(store: Store, migration: Migration, settings: ThrottleSettings) -> dict[str, Any]:
    """The throttle of a migration as ``status`` has it: paused by whom, the limits, and why it is held up."""
    paused, limits = requested(store, migration.id, settings)
    slowed = max(_slowed(store, migration.id), key=lambda each: each["p99_ms"], default=None)
    reasons = [_told(store, migration) or reason_to_wait(paused, limits, datetime.now(UTC))]
    if slowed:
        reasons.append(f"slowed: p99 of writes {slowed['p99_ms']:.0f} ms > {slowed['limit_ms']:g} ms")
    return {
        "paused": None if paused is None else {"by": person(paused), "since": utc_iso(paused.sent_us)},
        "limits": asdict(limits),
        "slowed": slowed,
        "reason": "; ".join(filter(None, reasons)) or None,
    }


def throttle_line(found: dict[str, Any]) -> str:
    """The same for people; empty if nothing holds the migration up."""
    return "; ".join(filter(None, [found["reason"], *Limits(**found["limits"]).lines()]))


def _told(store: Store, migration: Migration) -> str:
    """Why the tasks of a living run wait, in its own words: the hours of the day are those of its machine."""
    return read_published(store, migration.id, migration.owner).wait if is_owned(migration) else ""


def _slowed(store: Store, migration: str) -> Iterator[dict[str, float]]:
    for signal in signals_under(store, migration, SLOWED).values():
        if signal.sent_us > now_us() - _REPORT_US:
            yield json.loads(signal.text)


def person(signal: Signal) -> str:
    """Who sent it: user and host, without the process."""
    return signal.sent_by.rpartition(":")[0]
