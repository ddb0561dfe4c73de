"""The page for a browser: four read-only addresses, with limits on everything that a browser can hold open."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from ipaddress import ip_address
from threading import BoundedSemaphore, Event
from typing import Any

from embedshift.errors import EmbedshiftError
from embedshift.monitoring.poller import Poller
from embedshift.monitoring.render import render_page

#: Connections at once, and how many of them may be streams. A connection above the limit is closed or refused.
CONNECTIONS, STREAMS = 64, 16
#: A stream ends after this time, and the browser opens the next one; so a stream that hangs ends too.
STREAM_S = 300.0
#: Seconds for one read or write of a connection.
_SOCKET_S = 10.0
#: Seconds between two polls; all streams share one poll.
_LOOK_S = 2.0

_FILES = {
    "/": ("watch.html", "text/html; charset=utf-8"),
    "/watch.css": ("watch.css", "text/css; charset=utf-8"),
    "/watch.js": ("watch.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class WatchServer(ThreadingHTTPServer):
    """Serves the page until ``shut`` is called.

    Args:
        address: host and port; port 0 takes any free port.
        poller: reads the progress.
        stream_s, look_s: the maximum duration of a stream, and the time between two polls, in seconds.
    """

    # Every thread ends within the limits above, and is waited for, so that none uses a closed store.
    daemon_threads = False

    def __init__(
        self, address: tuple[str, int], poller: Poller, *, stream_s: float = STREAM_S, look_s: float = _LOOK_S
    ) -> None:
        super().__init__(address, _Handler)
        self.poller = poller
        self.stream_s, self.look_s = stream_s, look_s
        self.ending = Event()
        self.streams = BoundedSemaphore(STREAMS)
        self._connections = BoundedSemaphore(CONNECTIONS)

    def knows(self, host: str) -> bool:
        """Whether a request may name this host.

        On a loopback address only names of this machine: another page could let its own name point here.
        """
        bound = str(self.server_address[0])
        name = re.sub(r":\d+$", "", host).strip("[]")
        return not ip_address(bound).is_loopback or name in ("localhost", bound)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection; above the limit the connection is closed."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that closed the connection."""

    def shut(self) -> None:
        """End all streams and threads."""
        self.ending.set()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    timeout = _SOCKET_S
    server_version = "embedshift"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self.server.knows(self.headers.get("Host", "")):
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain; charset=utf-8", b"another host\n")
        elif path in _FILES:
            name, kind = _FILES[path]
            self._send(HTTPStatus.OK, kind, _file(name))
        elif path == "/progress.json":
            self._snapshot()
        elif path == "/events":
            self._events()
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not found\n")

    def _refuse(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", b"GET only\n", Allow="GET")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _snapshot(self) -> None:
        try:
            body = json.dumps(self.server.poller.look(self.server.look_s).plain(), ensure_ascii=False).encode()
        except EmbedshiftError as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", f"{error}\n".encode())
            return
        self._send(HTTPStatus.OK, "application/json", body)

    def _events(self) -> None:
        server = self.server
        if not server.streams.acquire(blocking=False):
            kind, body = "text/plain; charset=utf-8", b"too many streams are open\n"
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, kind, body, **{"Retry-After": "10"})
            return
        try:
            self._head(HTTPStatus.OK, "text/event-stream; charset=utf-8")
            deadline = time.monotonic() + server.stream_s
            while time.monotonic() < deadline and not server.ending.is_set():
                self.wfile.write(self._event())
                server.ending.wait(server.look_s)
        finally:
            server.streams.release()

    def _event(self) -> bytes:
        # Streams share a poll: a snapshot may be nearly as old as the time between two polls.
        try:
            kind, data = "progress", json.dumps(render_page(self.server.poller.look(self.server.look_s / 2)))
        except EmbedshiftError as error:
            kind, data = "trouble", json.dumps(str(error))
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def _send(self, status: HTTPStatus, kind: str, body: bytes, **headers: str) -> None:
        self._head(status, kind, **headers, **{"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log who looks at the page."""


@cache
def _file(name: str) -> bytes:
    return files("embedshift.monitoring").joinpath("page", name).read_bytes()
