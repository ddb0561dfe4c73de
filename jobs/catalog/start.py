"""When a cutover may switch: at a time of the clock, or at the word of an operator."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import Protocol

from jobs.catalog.control import GO, HOLD, read_word, say_word, take_back
from jobs.catalog.migration import Migration
from jobs.catalog.tables import ensure_catalog, now_us
from jobs.errors import CheckFailed, UsageError
from jobs.settings import Settings, format_duration
from jobs.stores.contract import Store

#: Seconds between two looks for the word.
_LOOK_S = 1.0


class Start(Protocol):
    """When the switch may be made. A context: entered when the waiting begins."""

    @property
    def label(self) -> str:
        """For people: what is waited for."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def rest_s(self, round_s: float) -> float:
        """Seconds until the target should be made ready again, where that takes ``round_s``."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the switch may be made; returns whether it may."""
        ...


class AtTime:
    """A time of the clock on the wall."""

    def __init__(self, text: str) -> None:
        self._moment = parse_at(text)

    @property
    def label(self) -> str:
        """Such as ``2026-11-24 02:30``."""
        return f"{self._moment:%Y-%m-%d %H:%M}"

    def __enter__(self) -> AtTime:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def rest_s(self, round_s: float) -> float:
        """Until one more round just fits, or until the time itself where none does."""
        left = self._left_s()
        return left - 2 * round_s if left > 2 * round_s else left

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the time has come."""
        threading.Event().wait(max(0.0, min(seconds, self._left_s())))
        return self._left_s() <= 0

    def _left_s(self) -> float:
        return (self._moment - datetime.now().astimezone()).total_seconds()


class AtWord:
    """The word of an operator, given from any terminal; not for ever."""

    label = "the word: embedshift cutover --go"

    def __init__(self, settings: Settings, store: Store, migration: Migration) -> None:
        self._settings = settings.cutover
        self._store = store
        self._migration = migration.id
        self._since_us = now_us()
        self._deadline = time.monotonic() + settings.cutover.hold.total_seconds()

    def __enter__(self) -> AtWord:
        ensure_catalog(self._store)
        say_word(self._store, self._migration, HOLD)
        return self

    def __exit__(self, *error: object) -> None:
        take_back(self._store, self._migration, HOLD)
        take_back(self._store, self._migration, GO)

    def rest_s(self, round_s: float) -> float:
        """As long as a round takes, at least ``cutover.keep_ready``."""
        return max(self._settings.keep_ready.total_seconds(), round_s)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the word is given. Raises CheckFailed where none came within ``cutover.hold``."""
        until = time.monotonic() + seconds
        while True:
            word = read_word(self._store, self._migration, GO)
            if word is not None and word.said_us >= self._since_us:
                return True
            if time.monotonic() >= self._deadline:
                held = format_duration(self._settings.hold)
                raise CheckFailed(f"no word came within {held}; nothing was switched", hint="run it again when ready")
            if time.monotonic() >= until:
                return False
            threading.Event().wait(_LOOK_S)


def parse_at(text: str) -> datetime:
    """A moment to come: ``02:30``, the next one on this machine's clock, or ``2026-11-24T02:30``.

    Raises:
        UsageError: it is neither, or past.
    """
    now = datetime.now().astimezone()
    try:
        moment = datetime.fromisoformat(text if "T" in text or " " in text else f"{now:%Y-%m-%d}T{text}").astimezone()
    except ValueError as error:
        raise UsageError(f"{text!r} is no time", hint="write it as 02:30 or 2026-11-24T02:30") from error
    if moment <= now and "T" not in text and " " not in text:
        moment += timedelta(days=1)
    if moment <= now:
        raise UsageError(f"{text} is past", hint="name a time to come")
    return moment
