"""When a cutover may switch: at a time of the clock, or when an operator releases it."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Protocol

from embedshift.catalog.migration import Migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.signals import GO, HOLD, read_signal, send, withdraw_signals
from embedshift.errors import CheckFailed
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.times import format_duration, now_us, parse_at

#: Seconds between two reads of the signal.
_LOOK_S = 1.0


class CutoverTrigger(Protocol):
    """When the switch may be made. A context: entered when the waiting begins."""

    @property
    def label(self) -> str:
        """For people: what is waited for."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def rest_s(self, round_s: float) -> float:
        """Seconds until the target should be made ready again, if that takes ``round_s``."""

    def wait(self, seconds: float) -> bool:
        """Wait this long, or until the switch may be made; returns whether it may."""


class AtTime:
    """A time of the wall clock."""

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
        """Until one more round just fits, or until the time itself if none does."""
        left = self._left_s()
        return left - 2 * round_s if left > 2 * round_s else left

    def wait(self, seconds: float) -> bool:
        """Wait this long, or until the time has come."""
        threading.Event().wait(max(0.0, min(seconds, self._left_s())))
        return self._left_s() <= 0

    def _left_s(self) -> float:
        return (self._moment - datetime.now().astimezone()).total_seconds()


class OnRelease:
    """The release by an operator, from any terminal, within ``cutover.hold``."""

    label = "release: embedshift cutover --go"

    def __init__(self, settings: Settings, store: Store, migration: Migration) -> None:
        self._settings = settings.cutover
        self._store = store
        self._migration = migration.id
        self._since_us = now_us()
        self._deadline = time.monotonic() + settings.cutover.hold.total_seconds()

    def __enter__(self) -> OnRelease:
        ensure_catalog(self._store)
        send(self._store, self._migration, HOLD)
        return self

    def __exit__(self, *error: object) -> None:
        withdraw_signals(self._store, self._migration, (HOLD, GO))

    def rest_s(self, round_s: float) -> float:
        """As long as a round takes, at least ``cutover.keep_ready``."""
        return max(self._settings.keep_ready.total_seconds(), round_s)

    def wait(self, seconds: float) -> bool:
        """Wait this long, or until the release. Raises CheckFailed if none came within ``cutover.hold``."""
        until = time.monotonic() + seconds
        while True:
            release = read_signal(self._store, self._migration, GO)
            if release is not None and release.sent_us >= self._since_us:
                return True
            if time.monotonic() >= self._deadline:
                held = format_duration(self._settings.hold)
                raise CheckFailed(
                    f"no release came within {held}; nothing was switched", hint="run it again when ready"
                )
            if time.monotonic() >= until:
                return False
            threading.Event().wait(_LOOK_S)
