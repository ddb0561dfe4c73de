"""Frames of the CQL protocol, version 4, as far as the stand-in looks into them.

Source: Cassandra's ``native_protocol_v4.spec``. Values stay bytes: what they mean, only the server knows.
"""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cassandra.protocol import ResultMessage
from cassandra.protocol_features import ProtocolFeatures

VERSION, ANSWER = 4, 0x84
HEADER = struct.Struct(">BBhBi")
ERROR, STARTUP, OPTIONS, SUPPORTED, QUERY, RESULT = 0x00, 0x01, 0x05, 0x06, 0x07, 0x08
PREPARE, EXECUTE, REGISTER, EVENT, BATCH = 0x09, 0x0A, 0x0B, 0x0C, 0x0D
AUTHENTICATE, AUTH_RESPONSE, AUTH_SUCCESS = 0x03, 0x0F, 0x10
VOID, ROWS, SET_KEYSPACE, PREPARED, SCHEMA_CHANGE = 1, 2, 3, 4, 5
ONE = 0x0001
COMPRESSED, TRACED, PAYLOAD, WARNED = 0x01, 0x02, 0x04, 0x08


class Unset(Enum):
    """A value that a client left out: the cell stays as it is."""

    UNSET = -2


Value = bytes | None | Unset


@dataclass(frozen=True)
class Frame:
    """One message."""

    version: int
    flags: int
    stream: int
    opcode: int
    body: bytes

    def packed(self) -> bytes:
        return HEADER.pack(self.version, self.flags, self.stream, self.opcode, len(self.body)) + self.body

    @property
    def content(self) -> bytes:
        """The body of an answer without its tracing id and warnings."""
        body = Body(self.body)
        if self.flags & TRACED:
            body.at += 16
        if self.flags & WARNED:
            for _ in range(body.short()):
                body.string()
        return body.data[body.at :]

    @property
    def kind(self) -> int:
        """The kind of a RESULT; 0 of any other message."""
        return int.from_bytes(self.content[:4], "big") if self.opcode == RESULT else 0


def answer(opcode: int, body: bytes) -> Frame:
    return Frame(ANSWER, 0, 0, opcode, body)


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises IncompleteReadError at the end."""
    version, flags, stream, opcode, length = HEADER.unpack(await reader.readexactly(HEADER.size))
    return Frame(version, flags, stream, opcode, await reader.readexactly(length))


class Body:
    """Reads a body from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bytes_(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes_(size), "big", signed=size > 2)

    def short(self) -> int:
        return self.number(2)

    def int_(self) -> int:
        return self.number(4)

    def string(self) -> str:
        return self.bytes_(self.short()).decode()

    def long_string(self) -> str:
        return self.bytes_(self.int_()).decode()

    def value(self) -> Value:
        length = self.int_()
        if length < 0:
            return None if length == -1 else Unset.UNSET
        return self.bytes_(length)


def short(number: int) -> bytes:
    return number.to_bytes(2, "big")


def int_(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True)


def string(text: str) -> bytes:
    return short(len(text.encode())) + text.encode()


def long_string(text: str) -> bytes:
    return int_(len(text.encode())) + text.encode()


def packed_value(value: Value) -> bytes:
    if value is None:
        return int_(-1)
    return int_(-2) if isinstance(value, Unset) else int_(len(value)) + value


@dataclass
class Params:
    """What comes after the text or the id in QUERY and EXECUTE."""

    consistency: int = ONE
    values: Sequence[Value] = ()
    skip_metadata: bool = False
    page_size: int | None = None
    paging_state: bytes | None = None
    serial: int | None = None
    timestamp: int | None = None

    @classmethod
    def read(cls, body: Body) -> Params:
        """Raises ValueError for values with names, which the driver never sends."""
        found = cls(body.short())
        flags = body.number(1)
        if flags & 0x40:
            raise ValueError("values with names")
        if flags & 0x01:
            found.values = [body.value() for _ in range(body.short())]
        found.skip_metadata = bool(flags & 0x02)
        found.page_size = body.int_() if flags & 0x04 else None
        found.paging_state = body.bytes_(body.int_()) if flags & 0x08 else None
        found.serial = body.short() if flags & 0x10 else None
        found.timestamp = body.number(8) if flags & 0x20 else None
        return found

    def packed(self) -> bytes:
        flags, after = 0, b""
        if self.values:
            flags, after = 0x01, short(len(self.values)) + b"".join(map(packed_value, self.values))
        if self.skip_metadata:
            flags |= 0x02
        if self.page_size is not None:
            flags, after = flags | 0x04, after + int_(self.page_size)
        if self.paging_state is not None:
            flags, after = flags | 0x08, after + packed_value(self.paging_state)
        tail_flags, tail = _tail(self.serial, self.timestamp)
        return short(self.consistency) + bytes([flags | tail_flags]) + after + tail


@dataclass
class Batch:
    """A BATCH: statements as text or as ids, each with its values."""

    kind: int
    parts: list[tuple[str | bytes, list[Value]]]
    consistency: int
    serial: int | None
    timestamp: int | None

    @classmethod
    def read(cls, body: Body) -> Batch:
        kind, parts = body.number(1), []
        for _ in range(body.short()):
            what = body.bytes_(body.short()) if body.number(1) else body.long_string()
            parts.append((what, [body.value() for _ in range(body.short())]))
        found = cls(kind, parts, body.short(), None, None)
        flags = body.number(1)
        found.serial = body.short() if flags & 0x10 else None
        found.timestamp = body.number(8) if flags & 0x20 else None
        return found

    def packed(self) -> bytes:
        parts = b"".join(
            (b"\0" + long_string(what) if isinstance(what, str) else b"\1" + short(len(what)) + what)
            + short(len(values))
            + b"".join(map(packed_value, values))
            for what, values in self.parts
        )
        flags, tail = _tail(self.serial, self.timestamp)
        return bytes([self.kind]) + short(len(self.parts)) + parts + short(self.consistency) + bytes([flags]) + tail


def _tail(serial: int | None, timestamp: int | None) -> tuple[int, bytes]:
    flags, after = 0, b""
    if serial is not None:
        flags, after = 0x10, short(serial)
    if timestamp is not None:
        flags, after = flags | 0x20, after + timestamp.to_bytes(8, "big", signed=True)
    return flags, after


def query(text: str, params: Params) -> bytes:
    return long_string(text) + params.packed()


def execute(statement: bytes, params: Params) -> bytes:
    return short(len(statement)) + statement + params.packed()


def error(code: int, words: str) -> Frame:
    return answer(ERROR, int_(code) + string(words))


def schema_change(change: str, keyspace: str, table: str) -> bytes:
    """The change of a table, as it stands in a RESULT and in an EVENT."""
    return string(change) + string("TABLE") + string(keyspace) + string(table)


def decoded(frame: Frame) -> list[dict[str, Any]]:
    """The rows of a RESULT as Python values; none of any other kind."""
    if frame.kind != ROWS:
        return []
    found = ResultMessage.recv_body(io.BytesIO(frame.content), VERSION, ProtocolFeatures(), {}, None, None)
    return [dict(zip(found.column_names, row, strict=True)) for row in found.parsed_rows]
