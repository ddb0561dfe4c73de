"""How fast a running migration may go: what operators and settings ask, what its tasks are told, what they report.

Operators leave words (``pause``, ``throttle``). The run that owns the migration makes an order of them for its tasks,
anew whenever something changes; a task that the limit of latency has slowed down says so under a word of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.catalog.alias import is_dead, whoami
from jobs.catalog.control import Word, forget_words, peek_word, read_word, say_word, words_under
from jobs.catalog.migration import Migration
from jobs.catalog.tables import now_us
from jobs.hours import parse_hours
from jobs.settings import ThrottleSettings
from jobs.stores.contract import Store

#: Names of words: a pause, limits; what the tasks of a run are told, and what a task tells, each followed by who it is.
PAUSE, THROTTLE, ORDER, SLOWED = "pause", "throttle", "order/", "slowed/"
#: A report that was not renewed for so long is none.
_REPORT_US = 15_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a whole run; None: no such limit. ``between`` is in the words of ``hours.parse_hours``."""

    rows_per_second: float | None = None
    max_latency_ms: float | None = None
    between: str | None = None

    @classmethod
    def of(cls, word: Word | None, settings: ThrottleSettings) -> Limits:
        """What an operator said last, and the settings where nothing was said."""
        latency = settings.max_latency
        usual = cls(
            settings.rows_per_second, None if latency is None else latency / timedelta(milliseconds=1), settings.between
        )
        return cls(**{**asdict(usual), **(json.loads(word.text) if word else {})})

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
class Order:
    """What each task of a run is to do: wait, where there is a reason to, or go on within its share of the limits."""

    wait: str = ""
    rows_per_second: float | None = None
    max_latency_ms: float | None = None

    @property
    def limits(self) -> bool:
        """Whether it holds anything up."""
        return self != Order()

    def to_json(self) -> str:
        """The text of the word."""
        return json.dumps(asdict(self))


def wishes(store: Store, migration: str, settings: ThrottleSettings) -> tuple[Word | None, Limits]:
    """The pause that somebody said, and the limits that hold."""
    return read_word(store, migration, PAUSE), Limits.of(read_word(store, migration, THROTTLE), settings)


def reason_to_wait(paused: Word | None, limits: Limits, now: datetime) -> str:
    """Why nothing may be carried now; empty where it may."""
    if paused is not None:
        return f"paused by {person(paused)} since {_time(paused.said_us)}"
    hours = parse_hours(limits.between) if limits.between else None
    if hours is not None and not hours.cover(now):
        return f"outside {hours}, goes on at {hours.opens:%H:%M}"
    return ""


def order_of(paused: Word | None, limits: Limits, now: datetime, tasks: int) -> Order:
    """The order for each of so many tasks that run side by side."""
    share = None if limits.rows_per_second is None else limits.rows_per_second / tasks
    return Order(reason_to_wait(paused, limits, now), share, limits.max_latency_ms)


def give_order(store: Store, migration: str, run: str, order: Order) -> None:
    """Tell the tasks of a run. Each run has a word of its own: one that was killed must not speak for the next."""
    say_word(store, migration, ORDER + run, order.to_json())


def read_order(store: Store, migration: str, run: str) -> Order:
    """What the tasks of a run are told now: one quick read."""
    word = peek_word(store, migration, ORDER + run)
    return Order() if word is None else Order(**json.loads(word.text))


def withdraw(store: Store, migration: str) -> None:
    """The run is over: remove its order, that of any run before it, and what tasks reported."""
    for each in (ORDER, SLOWED):
        forget_words(store, migration, words_under(store, migration, each))


def report_slowed(store: Store, migration: str, p99_ms: float, limit_ms: float) -> None:
    """A task's own word: the latency for which it slowed down."""
    say_word(store, migration, SLOWED + whoami(), json.dumps({"p99_ms": p99_ms, "limit_ms": limit_ms}))


def report_free(store: Store, migration: str) -> None:
    """The task that reported goes at full speed again."""
    forget_words(store, migration, [SLOWED + whoami()])


def pace_of(store: Store, migration: Migration, settings: ThrottleSettings) -> dict[str, Any]:
    """The pace of a migration as ``status`` has it: paused by whom, the limits, and the reason of what is held up."""
    paused, limits = wishes(store, migration.id, settings)
    slowed = max(_slowed(store, migration.id), key=lambda each: each["p99_ms"], default=None)
    reasons = [_told(store, migration) or reason_to_wait(paused, limits, datetime.now(UTC))]
    if slowed:
        reasons.append(f"slowed: p99 of writes {slowed['p99_ms']:.0f} ms > {slowed['limit_ms']:g} ms")
    return {
        "paused": None if paused is None else {"by": person(paused), "since": _time(paused.said_us)},
        "limits": asdict(limits),
        "slowed": slowed,
        "reason": "; ".join(filter(None, reasons)) or None,
    }


def pace_line(pace: dict[str, Any]) -> str:
    """The same for people; empty where nothing holds the migration up."""
    return "; ".join(filter(None, [pace["reason"], *Limits(**pace["limits"]).lines()]))


def _told(store: Store, migration: Migration) -> str:
    """Why the tasks of a living run wait, in its own words: the hours of the day are those of its machine."""
    running = migration.owner and migration.lease_until_us > now_us() and not is_dead(migration.owner)
    return read_order(store, migration.id, migration.owner).wait if running else ""


def _slowed(store: Store, migration: str) -> Iterator[dict[str, float]]:
    for word in words_under(store, migration, SLOWED).values():
        if word.said_us > now_us() - _REPORT_US:
            yield json.loads(word.text)


def person(word: Word) -> str:
    """Who said it: user and host, without the process."""
    return word.said_by.rpartition(":")[0]


def _time(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
