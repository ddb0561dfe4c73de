"""Raw pages against the driver's own decoding of the same bytes."""

from __future__ import annotations

import io
import struct
import uuid
from typing import Any

import pyarrow as pa
import pytest
from cassandra import cqltypes
from cassandra.protocol import _ProtocolHandler
from hypothesis import given
from hypothesis import strategies as st

from embedshift.stores.cql import wire
from embedshift.stores.cql.batch import aligned, wire_values
from embedshift.stores.cql_types import arrow_type
from embedshift.stores.model import Column

VERSION = 4
CODES = {"text": 0x0D, "bigint": 0x02, "int": 0x09, "double": 0x07, "boolean": 0x04, "uuid": 0x0C, "blob": 0x03}
CODES |= {"float": 0x08, "smallint": 0x13, "tinyint": 0x14, "timestamp": 0x0B, "ascii": 0x01}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=20),
    "ascii": st.text(st.characters(max_codepoint=127), max_size=9),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "tinyint": st.integers(-128, 127),
    "double": st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False, width=32),
    "boolean": st.booleans(),
    "uuid": st.uuids(),
    "blob": st.binary(max_size=20),
    "vector<float, 3>": st.lists(st.floats(allow_nan=False, width=32), min_size=3, max_size=3),
}


def type_of(cql_type: str) -> Any:
    if cql_type.startswith("vector"):
        return cqltypes.lookup_casstype("org.apache.cassandra.db.marshal.VectorType(FloatType,3)")
    return cqltypes.lookup_casstype({"text": "UTF8Type", "ascii": "AsciiType", "bigint": "LongType",
        "int": "Int32Type", "smallint": "ShortType", "tinyint": "ByteType", "double": "DoubleType",
        "float": "FloatType", "boolean": "BooleanType", "uuid": "UUIDType", "blob": "BytesType"}[cql_type])  # fmt: skip


def string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def body_of(types: list[str], rows: list[list[Any]], paging_state: bytes | None = None) -> bytes:
    """The body of a RESULT frame, as section 4.2.5.2 of the native protocol has it."""
    flags = 0x0001 | (0x0002 if paging_state is not None else 0)
    parts = [struct.pack(">iii", 0x0002, flags, len(types))]
    if paging_state is not None:
        parts.append(struct.pack(">i", len(paging_state)) + paging_state)
    parts += [string("ks"), string("t")]
    for at, cql_type in enumerate(types):
        code = CODES.get(cql_type, 0)
        parts.append(string(f"c{at}") + struct.pack(">H", code))
        if not code:
            parts.append(string("org.apache.cassandra.db.marshal.VectorType"
                                "(org.apache.cassandra.db.marshal.FloatType , 3)"))  # fmt: skip
    parts.append(struct.pack(">i", len(rows)))
    for row in rows:
        for cql_type, value in zip(types, row, strict=True):
            raw = None if value is None else type_of(cql_type).serialize(value, VERSION)
            parts.append(struct.pack(">i", -1) if raw is None else struct.pack(">i", len(raw)) + raw)
    return b"".join(parts)


def decoded(handler: Any, body: bytes) -> Any:
    return handler.decode_message(VERSION, None, {}, 0, 0, 0x08, body, None, [])


def as_arrow(cql_type: str, value: Any) -> Any:
    return value.bytes if isinstance(value, uuid.UUID) else value


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=6))
    nulls = draw(st.booleans())
    row = st.tuples(*((VALUES[each] | st.none()) if nulls else VALUES[each] for each in types)).map(list)
    return types, draw(st.lists(row, max_size=8))


@given(tables(), st.integers(1, 8))
def test_a_page_holds_what_the_driver_decodes(table, looked_at):
    types, rows = table
    body = body_of(types, rows)
    (page,) = decoded(wire.RawHandler, body).parsed_rows
    theirs = decoded(_ProtocolHandler, body).parsed_rows
    with pytest.MonkeyPatch.context() as patch:
        # The fewer rows tell which columns vary, the more often that is found out to be wrong.
        patch.setattr(wire, "ROWS_LOOKED_AT", looked_at)
        starts, lengths = wire.cells(page)
    for at, cql_type in enumerate(types):
        ours = wire.column(page, starts[:, at], lengths[:, at], cql_type)
        ours.validate(full=True)
        assert ours.type == arrow_type(cql_type)
        expected = [as_arrow(cql_type, row[at]) for row in theirs]
        assert ours.to_pylist() == pa.array(expected, arrow_type(cql_type)).to_pylist()


@given(tables())
def test_arrow_columns_become_the_bytes_that_the_driver_binds(table):
    types, rows = table
    for at, cql_type in enumerate(types):
        values = [row[at] for row in rows]
        column = pa.array([as_arrow(cql_type, value) for value in values], arrow_type(cql_type))
        expected = [None if value is None else bytes(type_of(cql_type).serialize(value, VERSION)) for value in values]
        assert wire_values(column) == expected
        assert wire_values(column.slice(1)) == expected[1:]


@given(tables(), st.integers(1, 3))
def test_joined_pages_are_one_page(table, copies):
    types, rows = table
    if not rows:
        return
    (page,) = decoded(wire.RawHandler, body_of(types, rows)).parsed_rows
    joined = wire.join([page] * copies)
    starts, lengths = wire.cells(joined)
    for at, cql_type in enumerate(types):
        alone = wire.column(page, *(each[:, at] for each in wire.cells(page)), cql_type)
        assert wire.column(joined, starts[:, at], lengths[:, at], cql_type).to_pylist() == alone.to_pylist() * copies


def test_a_page_knows_where_the_next_begins():
    message = decoded(wire.RawHandler, body_of(["int"], [[1]], paging_state=b"there"))
    assert message.paging_state == b"there"
    assert message.column_names == ["c0"]


def test_text_is_not_copied_before_arrow_gathers_it():
    (page,) = decoded(wire.RawHandler, body_of(["text"], [["a"], ["b"]])).parsed_rows
    assert isinstance(page.body, bytes)
    assert page.offset > 0


def test_a_column_that_varies_late_is_found_out():
    rows = [[uuid.UUID(int=at), "a" * (3 + (at > 30)), None, [float(at), 0.5, -1.0]] for at in range(50)]
    rows[20][3], rows[40][2] = None, 7
    (page,) = decoded(wire.RawHandler, body_of(types := ["uuid", "text", "int", "vector<float, 3>"], rows)).parsed_rows
    starts, lengths = wire.cells(page)
    found = [wire.column(page, starts[:, at], lengths[:, at], each).to_pylist() for at, each in enumerate(types)]
    assert list(zip(*found, strict=True)) == [(row[0].bytes, *row[1:]) for row in rows]


def test_a_page_that_ends_too_soon_is_no_page():
    whole = struct.pack(">ii", 4, 7) * 3
    with pytest.raises(struct.error):
        wire.cells(wire.Page(whole[:-1], 0, 3, 1))


def test_rows_that_are_equally_long_only_in_sum_are_told_apart():
    rows = [["ab", "c"], ["a", "bc"], ["", "abc"]]
    (page,) = decoded(wire.RawHandler, body_of(["text", "text"], rows)).parsed_rows
    starts, lengths = wire.cells(page)
    found = [wire.column(page, starts[:, at], lengths[:, at], "text").to_pylist() for at in (0, 1)]
    assert list(zip(*found, strict=True)) == [tuple(row) for row in rows]


def test_an_empty_value_of_a_number_reads_as_null():
    raw = struct.pack(">i", 0) + struct.pack(">ii", 4, 7)
    page = wire.Page(raw, 0, 2, 1)
    starts, lengths = wire.cells(page)
    assert wire.column(page, starts[:, 0], lengths[:, 0], "int").to_pylist() == [None, 7]


@pytest.mark.parametrize(
    ("ttls", "longest"),
    [(None, None), ([5], 5), ([5, 9, 7], 9), ([5, None], None), ([], None)],
)
def test_the_ttl_of_a_collection_is_its_longest_element_s(ttls, longest):
    raw = None
    if ttls is not None:
        raw = struct.pack(">i", len(ttls))
        raw += b"".join(struct.pack(">i", -1) if each is None else struct.pack(">ii", 4, each) for each in ttls)
    assert wire.longest_ttls(pa.array([raw], pa.binary())).to_pylist() == [longest]


def test_a_vector_of_another_length_is_a_fault_of_its_row_alone():
    faults: dict[int, str] = {}
    values = pa.array([[1.0, 2.0], [1.0, 2.0, 3.0], None], pa.list_(pa.float32()))
    fitted = aligned(Column("embedding", "vector<float, 3>"), values, faults)
    assert fitted.to_pylist() == [None, [1.0, 2.0, 3.0], None]
    assert faults == {0: "embedding has 2 dimensions, not 3"}


def test_the_body_of_a_message_is_kept_whole():
    body = body_of(["int"], [[1], [2]])
    (page,) = decoded(wire.RawHandler, body).parsed_rows
    assert page.body == body
    assert io.BytesIO(body).getvalue() is body
