"""How fast a running migration may go: what operators and settings request, what tasks are told, what tasks report.

Operators send signals (``pause``, ``throttle``). The owning run turns them into a ``ThrottleState`` for its tasks, and
writes it again whenever it changes. A task that the latency limit has slowed down sends a signal too.
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

#: Names of signals: a pause, limits; what the tasks of a run are told, and what a task reports of the database and of
#: a service. The last three are followed by the sender.
PAUSE, THROTTLE, STATE, SLOWED, SERVICE = "pause", "throttle", "throttle-state/", "slowed/", "service-slowed/"
#: A report that is older than this is ignored.
_REPORT_US = 15_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a whole run; None: no such limit. ``between`` is a window that ``times.parse_window`` reads.

    ``requests_per_minute`` and ``tokens_per_minute`` are those of a service, and come on top of its settings.
    """

    rows_per_second: float | None = None
    max_latency_ms: float | None = None
    between: str | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @classmethod
    def of(cls, signal: Signal | None, settings: ThrottleSettings) -> Limits:
        """What an operator requested last, and the settings for the rest."""
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
        if self.requests_per_minute is not None:
            lines.append(f"at most {self.requests_per_minute:,g} requests/min to the service")
        if self.tokens_per_minute is not None:
            lines.append(f"at most {self.tokens_per_minute:,g} tokens/min to the service")
        if self.between is not None:
            lines.append(f"only {self.between}")
        return lines


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """What each task of a run must do: wait, if there is a reason, or work within its share of the limits."""

    wait: str = ""
    rows_per_second: float | None = None
    max_latency_ms: float | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @property
    def limits(self) -> bool:
        """Whether it slows anything down."""
        return self != ThrottleState()

    def to_json(self) -> str:
        """The text of the signal."""
        return json.dumps(asdict(self))


def requested(store: Store, migration: str, settings: ThrottleSettings) -> tuple[Signal | None, Limits]:
    """The pause that somebody requested, and the limits that apply."""
    return read_signal(store, migration, PAUSE), Limits.of(read_signal(store, migration, THROTTLE), settings)


def reason_to_wait(paused: Signal | None, limits: Limits, now: datetime) -> str:
    """Why no rows may be carried now; empty if they may."""
    if paused is not None:
        return f"paused by {person(paused)} since {utc_iso(paused.sent_us)}"
    window = parse_window(limits.between) if limits.between else None
    if window is not None and not window.is_open(now):
        return f"outside {window}, continues at {window.opens(now):%H:%M}"
    return ""


def throttle_state(paused: Signal | None, limits: Limits, now: datetime, tasks: int) -> ThrottleState:
    """The state for each of ``tasks`` tasks that run at the same time."""
    share = None if limits.rows_per_second is None else limits.rows_per_second / tasks
    # Those of a service are kept by an account that all tasks share.
    return ThrottleState(
        reason_to_wait(paused, limits, now),
        share,
        limits.max_latency_ms,
        limits.requests_per_minute,
        limits.tokens_per_minute,
    )


def publish(store: Store, migration: str, run: str, state: ThrottleState) -> None:
    """Tell the tasks of a run. Each run has its own signal, so that a killed run's signal does not affect the next."""
    send(store, migration, STATE + run, state.to_json())


def read_published(store: Store, migration: str, run: str) -> ThrottleState | None:
    """What the tasks of a run are told now, in one quick read; None if the run has not begun, or is over."""
    signal = peek_signal(store, migration, STATE + run)
    return None if signal is None else ThrottleState(**json.loads(signal.text))


def withdraw(store: Store, migration: str) -> None:
    """The run is over: remove its state, the states of earlier runs, and the reports of tasks."""
    for each in (STATE, SLOWED, SERVICE):
        withdraw_signals(store, migration, signals_under(store, migration, each))


def report_slowed(store: Store, migration: str, p99_ms: float, limit_ms: float) -> None:
    """A task's signal: the latency for which it slowed down."""
    send(store, migration, SLOWED + whoami(), json.dumps({"p99_ms": p99_ms, "limit_ms": limit_ms}))


def report_free(store: Store, migration: str) -> None:
    """The task that reported is at full speed again."""
    withdraw_signals(store, migration, [SLOWED + whoami()])


def report_service(store: Store, migration: str, reason: str) -> None:
    """A task's signal: why its service makes it wait."""
    send(store, migration, SERVICE + whoami(), reason)


def report_served(store: Store, migration: str) -> None:
    """The service answers that task again."""
    withdraw_signals(store, migration, [SERVICE + whoami()])


def throttle_of(store: Store, migration: Migration, settings: ThrottleSettings) -> dict[str, Any]:
    """The throttle of a migration for ``status``: who paused it, the limits, and why it is held up."""
    paused, limits = requested(store, migration.id, settings)
    slowed = max(_slowed(store, migration.id), key=lambda each: each["p99_ms"], default=None)
    reasons = [_told(store, migration) or reason_to_wait(paused, limits, datetime.now(UTC))]
    if slowed:
        reasons.append(f"slowed: p99 of writes {slowed['p99_ms']:.0f} ms > {slowed['limit_ms']:g} ms")
    reasons += [f"slowed by the service: {reason}" for reason in _service_reasons(store, migration.id)]
    return {
        "paused": None if paused is None else {"by": person(paused), "since": utc_iso(paused.sent_us)},
        "limits": asdict(limits),
        "slowed": slowed,
        "reason": "; ".join(filter(None, reasons)) or None,
    }


def throttle_line(found: dict[str, Any]) -> str:
    """The same as a line for people; empty if nothing slows the migration down."""
    return "; ".join(filter(None, [found["reason"], *Limits(**found["limits"]).lines()]))


def _told(store: Store, migration: Migration) -> str:
    """Why the tasks of a living run wait, as the run itself says: the hours of the day are those of its machine."""
    state = read_published(store, migration.id, migration.owner) if is_owned(migration) else None
    return state.wait if state else ""


def _slowed(store: Store, migration: str) -> Iterator[dict[str, float]]:
    for signal in signals_under(store, migration, SLOWED).values():
        if signal.sent_us > now_us() - _REPORT_US:
            yield json.loads(signal.text)


def _service_reasons(store: Store, migration: str) -> list[str]:
    """What tasks say of their service, each once."""
    signals = signals_under(store, migration, SERVICE).values()
    return sorted({each.text for each in signals if each.sent_us > now_us() - _REPORT_US})


def person(signal: Signal) -> str:
    """Who sent a signal: user and host, without the process."""
    return signal.sent_by.rpartition(":")[0]
