"""What the vector stores beside a ScyllaDB cluster say of an index, over HTTP.

The paths and the fields are those of the vector store's own OpenAPI document.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from math import isfinite
from threading import Event, Timer
from typing import Any
from urllib.parse import quote, urlsplit

from embedshift.settings import StoreSettings
from embedshift.stores.cql.tls import tls_context
from embedshift.stores.model import IndexState

#: Seconds for one answer, from the first byte of the question to its last one.
TIMEOUT_S = 10.0
#: A vector store looks at the schema once a second, and knows an index by its name: for so long it may still speak of
#: one that was dropped.
SETTLES_S = 5.0
#: A status is a few dozen bytes; whatever sends more is no vector store.
_BYTES_MAX = 1 << 16
#: The states are words such as SERVING; what is said of others goes to a terminal.
_WORD = re.compile(r"[A-Za-z_ ]{1,40}")
_REASON_MAX = 200
#: Percent of the first scan. Where it is less and the index serves, parts of the scan have failed.
_WHOLE = 100.0


@dataclass(frozen=True, slots=True)
class Status:
    """What one vector store says: its word for the state, its count of vectors, how much of the first scan it has."""

    state: str
    rows: int
    progress: float


class VectorStores:
    """The vector stores that the settings name."""

    def __init__(self, settings: StoreSettings) -> None:
        self._addresses = tuple(address.rstrip("/") for address in settings.vector_status)
        secure = any(address.startswith("https:") for address in self._addresses)
        tls = settings.vector_tls
        self._tls = (tls_context(tls, "store.vector_tls") if tls else ssl.create_default_context()) if secure else None

    def state(self, keyspace: str, name: str, age_s: float) -> IndexState:
        """The state of an index, from all of them: it serves when each of them does.

        Args:
            keyspace: of the index.
            name: of the index.
            age_s: how long ago it was created, by the servers' clock.
        """
        found = [self._state(address, keyspace, name) for address in self._addresses]
        for status in ("failed", "building"):
            other = next((state for state in found if state.status == status), None)
            if other is not None:
                return other
        if age_s < SETTLES_S:
            return IndexState("building", reason="the vector stores may still speak of a dropped index of that name")
        return IndexState("serving", rows=min(state.rows or 0 for state in found))

    def _state(self, address: str, keyspace: str, name: str) -> IndexState:
        url = f"{address}/api/v1/indexes/{quote(keyspace, safe='')}/{quote(name, safe='')}/status"
        try:
            code, body = self._asked(url)
        except (OSError, HTTPException, ValueError) as error:
            return IndexState("building", reason=f"the vector store {address} does not answer ({_why(error)})")
        if code != 200:
            reason = "has not found the index yet" if code == 404 else f"answers {code}"
            return IndexState("building", reason=f"the vector store {address} {reason}")
        found = read_status(body)
        if found is None:
            return IndexState("building", reason=f"the vector store {address} does not answer with a status")
        if found.state != "SERVING":
            reason = f"the vector store {address} is {found.state.lower()}"
            return IndexState("building", rows=found.rows, reason=reason)
        if found.progress < _WHOLE:
            reason = f"the vector store {address} could not read all of the table: it has {found.progress:.1f} % of it"
            return IndexState("failed", rows=found.rows, reason=reason)
        return IndexState("serving", rows=found.rows)

    def _asked(self, url: str) -> tuple[int, bytes]:
        """The code and the body of an answer."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        connection: HTTPConnection = (
            HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=self._tls)
            if parts.scheme == "https"
            else HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        )
        late = Event()
        # A timeout of the socket begins anew with every byte.
        overdue = Timer(TIMEOUT_S, _cut, (connection, late))
        overdue.daemon = True
        overdue.start()
        try:
            with closing(connection):
                connection.request("GET", parts.path, headers={"Accept": "application/json"})
                answer = connection.getresponse()
                return answer.status, answer.read(_BYTES_MAX)
        except (OSError, HTTPException, ValueError) as error:
            if late.is_set():
                raise TimeoutError(f"no whole answer within {TIMEOUT_S:g} s") from error
            raise
        finally:
            overdue.cancel()


def _cut(connection: HTTPConnection, late: Event) -> None:
    late.set()
    with suppress(OSError, AttributeError):  # it may not be open yet, or just be closed
        connection.sock.shutdown(socket.SHUT_RDWR)


def read_status(body: bytes) -> Status | None:
    """A status from the body of an answer; None if it is none."""
    try:
        said: Any = json.loads(body)
        state, rows = said["status"], said["count"]
        # Versions before build_progress give none.
        progress = _WHOLE if said.get("build_progress") is None else float(said["build_progress"])
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    known = isinstance(state, str) and _WORD.fullmatch(state) and type(rows) is int and rows >= 0
    return Status(state.upper(), rows, progress) if known and isfinite(progress) and progress >= 0 else None


def _why(error: BaseException) -> str:
    text = "".join(each if each.isprintable() else " " for each in str(error))
    return " ".join(text.split())[:_REASON_MAX] or type(error).__name__
