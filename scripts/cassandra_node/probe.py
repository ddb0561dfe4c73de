"""Enough of the CQL binary protocol (version 4) to ask a node whether it is ready. No driver needed.

Frames: version, flags, stream (2 bytes), opcode, length (4 bytes), body; all big-endian.
Source: Cassandra's ``native_protocol_v4.spec``.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ONE = 0x0001
ALL = 0x0005

_REQUEST, _TIMEOUT_S = 0x04, 5.0
_ERROR, _STARTUP, _READY, _AUTHENTICATE, _OPTIONS, _SUPPORTED = 0x00, 0x01, 0x02, 0x03, 0x05, 0x06
_QUERY, _RESULT, _AUTH_RESPONSE, _AUTH_SUCCESS = 0x07, 0x08, 0x0F, 0x10
_HEADER = struct.Struct(">BBhBi")


class NotReady(Exception):
    """The node does not answer, or not with what was asked for."""


@dataclass(frozen=True)
class Probe:
    """Sends one question to one node over one connection.

    Args:
        host: its address.
        port: its CQL port.
        tls: how to connect, or None for plain text.
        credentials: user and password; None if the node asks for none.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    credentials: tuple[str, str] | None

    def answers(self) -> bool:
        """Whether the node speaks CQL; this says nothing about logins or other nodes."""
        try:
            with self._connection() as connection:
                _exchange(connection, _OPTIONS, b"", _SUPPORTED)
        except NotReady:
            return False
        return True

    def count(self, cql: str, consistency: int = ONE) -> int:
        """The number that ``SELECT COUNT(...)`` returns.

        Raises:
            NotReady: no connection, no login, or the query ended in an error.
        """
        with self._connection() as connection:
            self._start(connection)
            text = cql.encode()
            query = struct.pack(">i", len(text)) + text + struct.pack(">HB", consistency, 0)
            rows = _exchange(connection, _QUERY, query, _RESULT)
        # One row with one bigint: whatever metadata comes before it, the value is the last 8 bytes.
        return int(struct.unpack(">q", rows[-8:])[0])

    def _start(self, connection: socket.socket) -> None:
        options = struct.pack(">H", 1) + _string("CQL_VERSION") + _string("3.0.0")
        if self.credentials is None:
            _exchange(connection, _STARTUP, options, _READY)
            return
        _exchange(connection, _STARTUP, options, _AUTHENTICATE)
        user, password = self.credentials
        token = f"\0{user}\0{password}".encode()
        _exchange(connection, _AUTH_RESPONSE, struct.pack(">i", len(token)) + token, _AUTH_SUCCESS)

    @contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        try:
            with socket.create_connection((self.host, self.port), _TIMEOUT_S) as plain:
                if self.tls is None:
                    yield plain
                else:
                    with self.tls.wrap_socket(plain, server_hostname=self.host) as wrapped:
                        yield wrapped
        except OSError as error:  # TLS errors are of this kind, too
            raise NotReady(f"{self.host}:{self.port}: {error}") from error


def _exchange(connection: socket.socket, opcode: int, body: bytes, expected: int) -> bytes:
    connection.sendall(_HEADER.pack(_REQUEST, 0, 0, opcode, len(body)) + body)
    *_, answer, length = _HEADER.unpack(_receive(connection, _HEADER.size))
    content = _receive(connection, length)
    if answer == _ERROR:
        raise NotReady(f"error 0x{int.from_bytes(content[:4]):04x}: {content[6:].decode(errors='replace')}")
    if answer != expected:
        raise NotReady(f"opcode 0x{answer:02x} instead of 0x{expected:02x}")
    return content


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise NotReady("the connection ended before the answer")
        received += part
    return bytes(received)


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()
