"""Watch a migration: ``status --watch``, refreshed again and again; it changes nothing."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.live import Live

from embedshift.errors import StoreUnavailable, UsageError
from embedshift.monitoring.poller import Poller
from embedshift.monitoring.progress import ProgressSnapshot
from embedshift.monitoring.render import line, render_terminal
from embedshift.monitoring.server import WatchServer
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.telemetry.console import Console

#: The default time between two refreshes, on a terminal and elsewhere.
_EVERY = timedelta(seconds=2)
_EVERY_LINE = timedelta(seconds=10)
#: A store that does not answer may come back; but a caller that waits for the end of a run does not wait for ever.
_AWAY_S = 600.0
Show = Callable[[ProgressSnapshot], None]


def watch(
    settings: Settings,
    store: Store,
    console: Console,
    *,
    every: timedelta | None = None,
    until_done: bool = False,
) -> dict[str, Any]:
    """Show the progress until Ctrl-C, or, with ``until_done``, until nothing has run for as long as a lease.

    Between the steps of ``migrate`` nobody owns the migration for a moment; that is why it waits for ``cutover.lease``.

    Args:
        every: time between two refreshes; by default 2 s on a terminal and 10 s elsewhere.
        until_done: end when nothing is running.

    Returns:
        The last snapshot.

    Raises:
        StoreUnavailable: with ``until_done``, the store has not answered for ten minutes.
    """
    poller, pause = Poller(settings, store), threading.Event()
    every = every or (_EVERY if console.is_terminal and not console.as_json else _EVERY_LINE)
    rested_since = seen = time.monotonic()
    with _shown(console) as show:
        while True:
            try:
                snapshot = poller.look()
            except StoreUnavailable as error:
                if until_done and time.monotonic() - seen > _AWAY_S:
                    raise
                console.say(str(error))
            else:
                show(snapshot)
                seen = time.monotonic()
                rested_since = seen if snapshot.running else rested_since
                if until_done and seen - rested_since >= settings.cutover.lease.total_seconds():
                    return snapshot.plain()
            pause.wait(every.total_seconds())


@contextmanager
def _shown(console: Console) -> Iterator[Show]:
    """How a snapshot is shown: drawn over the previous one, as a line, or as one JSON object per line."""
    if console.as_json:
        yield _print_json
        return
    if not console.is_terminal:
        yield lambda snapshot: console.say(line(snapshot))
        return
    with Live(console=console.rich, auto_refresh=False, redirect_stderr=False) as live:
        yield lambda snapshot: live.update(render_terminal(snapshot), refresh=True)


def _print_json(snapshot: ProgressSnapshot) -> None:
    sys.stdout.write(json.dumps(snapshot.plain(), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def serve(settings: Settings, store: Store, console: Console, *, host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UsageError: the address does not belong to this machine, or the port is taken.
    """
    try:
        server = WatchServer((host, port), Poller(settings, store))
    except OSError as error:
        raise UsageError(
            f"cannot serve on {host}, port {port} ({error.strerror})", hint="name others with --host and --port"
        ) from error
    console.say(f"serving http://{host}:{server.server_port}/ until Ctrl-C")
    try:
        server.serve_forever()
    finally:
        server.shut()
