"""The descriptions of columns in answers: taken apart, and put together for a statement that the stand-in prepares."""

from __future__ import annotations

from dataclasses import dataclass

from tests.scylla.frames import PREPARED, ROWS, Body, Frame, int_, short, string

_GLOBAL, _MORE_PAGES, _NONE = 0x1, 0x2, 0x4


@dataclass(frozen=True)
class Column:
    """A column or a bind marker: its name, and its type as the protocol has it."""

    name: str
    type: bytes


def vector(name: str, dimension: int) -> Column:
    """A marker for a vector of floats."""
    package = "org.apache.cassandra.db.marshal"
    return Column(name, short(0) + string(f"{package}.VectorType({package}.FloatType, {dimension})"))


def integer(name: str) -> Column:
    """A marker for an int."""
    return Column(name, short(0x0009))


@dataclass(frozen=True)
class Statement:
    """The answer to PREPARE: the id, the markers, and the result's description as it came."""

    id: bytes
    markers: tuple[Column, ...]
    result: bytes

    @classmethod
    def read(cls, frame: Frame) -> Statement:
        body = Body(frame.content)
        assert body.int_() == PREPARED
        id_ = body.bytes_(body.short())
        flags, count = body.int_(), body.int_()
        for _ in range(body.int_()):
            body.short()
        return cls(id_, _columns(body, flags, count), body.data[body.at :])

    def packed(self, keyspace: str, table: str) -> bytes:
        columns = b"".join(string(each.name) + each.type for each in self.markers)
        described = int_(_GLOBAL) + int_(len(self.markers)) + int_(0) + string(keyspace) + string(table) + columns
        return int_(PREPARED) + short(len(self.id)) + self.id + described + self.result


@dataclass(frozen=True)
class Rows:
    """A RESULT of rows: their columns, how many there are, and their cells as they came."""

    columns: tuple[Column, ...]
    count: int
    cells: bytes

    @classmethod
    def read(cls, frame: Frame) -> Rows:
        body = Body(frame.content)
        assert body.int_() == ROWS
        flags, count = body.int_(), body.int_()
        if flags & _MORE_PAGES:
            body.value()
        columns = () if flags & _NONE else _columns(body, flags, count)
        return cls(columns, body.int_(), body.data[body.at :])


def rows(described: bytes, parts: list[Rows]) -> bytes:
    """One RESULT from several, in their order; ``described`` is the result's description of a ``Statement``."""
    return int_(ROWS) + described + int_(sum(part.count for part in parts)) + b"".join(part.cells for part in parts)


def was_applied(frame: Frame) -> bool:
    """Whether the answer to a lightweight transaction says that it was applied."""
    if frame.kind != ROWS:
        return False
    found = Rows.read(frame)
    return found.count > 0 and found.columns[0].name == "[applied]" and Body(found.cells).value() == b"\x01"


def _columns(body: Body, flags: int, count: int) -> tuple[Column, ...]:
    if flags & _GLOBAL:
        body.string(), body.string()
    found = []
    for _ in range(count):
        if not flags & _GLOBAL:
            body.string(), body.string()
        name, start = body.string(), body.at
        _skip_type(body)
        found.append(Column(name, body.data[start : body.at]))
    return tuple(found)


def _skip_type(body: Body) -> None:
    code = body.short()
    if code == 0x0000:
        body.string()
    elif code == 0x0030:
        body.string(), body.string()
        for _ in range(body.short()):
            body.string()
            _skip_type(body)
    else:
        # list and set hold one type, map two, a tuple as many as it says, every other type none
        inner = body.short() if code == 0x0031 else {0x0020: 1, 0x0021: 2, 0x0022: 1}.get(code, 0)
        for _ in range(inner):
            _skip_type(body)
