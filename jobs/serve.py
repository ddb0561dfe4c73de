"""The same as ``status --watch`` as a small page for browsers; it changes nothing."""

from __future__ import annotations

from jobs.console import Console
from jobs.errors import UsageError
from jobs.settings import Settings
from jobs.stores.contract import Store
from jobs.watching.server import WatchServer
from jobs.watching.watcher import Watcher


def serve(settings: Settings, store: Store, console: Console, *, host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UsageError: the address is none of this machine, or the port is taken.
    """
    try:
        server = WatchServer((host, port), Watcher(settings, store))
    except OSError as error:
        raise UsageError(
            f"cannot serve on {host}, port {port} ({error.strerror})", hint="name others with --host and --port"
        ) from error
    console.say(f"serving http://{host}:{server.server_port}/ until Ctrl-C")
    try:
        server.serve_forever()
    finally:
        server.shut()
