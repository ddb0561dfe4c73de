"""CQL types at the borders: Arrow types, JSON in and out, the bytes of a key."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from cassandra.cqltypes import DecimalType, InetAddressType, IntegerType, TimeType
from cassandra.cqltypes import SimpleDateType as DateType
from hypothesis import given, settings
from hypothesis import strategies as st

from embedshift.errors import InputError
from embedshift.stores.cql_types import (
    arrow_type,
    from_json,
    is_opaque,
    key_bytes,
    partition_key,
    to_json,
    vector_dimension,
    vector_type,
)
from embedshift.stores.opaque_values import alike

unhurried = settings(deadline=None)
#: Bytes of the protocol, as the driver writes them.
OPAQUE = {
    "date": st.binary(min_size=4, max_size=4),
    "time": st.integers(0, 86_400 * 10**9 - 1).map(lambda each: each.to_bytes(8, "big")),
    "inet": st.ip_addresses().map(lambda each: each.packed),
    "varint": st.integers().map(lambda each: IntegerType.serialize(each, 5)),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False).map(lambda each: DecimalType.serialize(each, 5)),
}
WIDTHS = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "timestamp": 8}


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[str, object]:
    """A type, and a value of it as it travels in Arrow."""
    type_ = draw(
        st.sampled_from(
            ["text", "ascii", *WIDTHS, "boolean", "double", "uuid", "timeuuid", "blob", "duration", *OPAQUE]
        )
    )
    if type_ in WIDTHS:
        bits = 8 * WIDTHS[type_] - 1
        # A timestamp travels through JSON as a date, so it lies in the years 1 to 9999.
        low, high = (-(2**bits), 2**bits - 1) if type_ != "timestamp" else (-62_135_596_800_000, 253_402_300_799_000)
        return type_, draw(st.integers(low, high))
    strategy = {
        "text": st.text(),
        "ascii": st.text(st.characters(max_codepoint=127)),
        "boolean": st.booleans(),
        "double": st.floats(allow_nan=False),
        "uuid": st.binary(min_size=16, max_size=16),
        "timeuuid": st.binary(min_size=16, max_size=16),
        **OPAQUE,
    }.get(type_, st.binary())
    return type_, draw(strategy)


@unhurried
@given(typed_values())
def test_a_value_survives_the_way_through_json(typed):
    type_, value = typed
    text = json.dumps(to_json(type_, value))
    assert from_json(type_, json.loads(text)) == value


@unhurried
@given(typed_values())
def test_a_value_fits_its_arrow_type(typed):
    type_, value = typed
    assert pa.array([value, None], arrow_type(type_)).to_pylist() == [value, None]


@pytest.mark.parametrize("type_", ["text", "int", "uuid", "vector<float, 2>", "blob"])
def test_null_is_null_on_either_side(type_):
    assert from_json(type_, None) is None
    assert to_json(type_, None) is None


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("text", 5),
        ("text", "\ud800"),
        ("ascii", "ä"),
        ("int", 2**31),
        ("int", -(2**31) - 1),
        ("int", 1.5),
        ("int", True),
        ("int", "five"),
        ("bigint", 2**63),
        ("tinyint", 128),
        ("boolean", 1),
        ("double", "1.5"),
        ("float", True),
        ("uuid", "no uuid"),
        ("uuid", 7),
        ("timestamp", "yesterday"),
        ("vector<float, 2>", [1.0]),
        ("vector<float, 2>", [1.0, "x"]),
        ("vector<float, 2>", 3),
        ("blob", "not base64!"),
        ("date", "tomorrow"),
        ("date", "2026-02-30"),
        ("time", "24:00:00"),
        ("inet", "localhost"),
        ("varint", 1.5),
        ("varint", True),
        ("decimal", "NaN"),
        ("date", True),
        ("inet", True),
        ("decimal", "much"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(type_, value):
    with pytest.raises(InputError, match=type_.replace("<", ".").replace(">", ".")):
        from_json(type_, value)


def test_a_refusal_does_not_repeat_a_long_value():
    with pytest.raises(InputError) as refusal:
        from_json("int", "x" * 10_000)
    assert len(str(refusal.value)) < 200


def test_a_uuid_is_read_in_any_of_its_forms():
    id_ = uuid.uuid4()
    assert from_json("uuid", str(id_)) == from_json("uuid", id_) == from_json("uuid", id_.hex) == id_.bytes
    assert to_json("uuid", id_.bytes) == str(id_)


@pytest.mark.parametrize(
    "value",
    [1_700_000_000_123, "2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20.123", "2023-11-15T00:13:20.123+02:00"],
)
def test_a_moment_is_read_in_any_of_its_forms(value):
    assert from_json("timestamp", value) == 1_700_000_000_123


def test_a_datetime_is_a_moment():
    assert from_json("timestamp", datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)) == 1_700_000_000_123
    assert to_json("timestamp", 1_700_000_000_123) == "2023-11-14T22:13:20.123000Z"


@pytest.mark.parametrize(
    ("type_", "text", "of_driver"),
    [
        ("date", "2026-11-30", DateType.serialize("2026-11-30", 5)),
        ("date", "0001-01-01", DateType.serialize("0001-01-01", 5)),
        ("time", "08:05:09.000000001", TimeType.serialize("08:05:09.000000001", 5)),
        ("inet", "2001:db8::1", InetAddressType.serialize("2001:db8::1", 5)),
        ("inet", "192.0.2.1", InetAddressType.serialize("192.0.2.1", 5)),
        ("varint", -(2**70), IntegerType.serialize(-(2**70), 5)),
        ("decimal", "-12.50", DecimalType.serialize(Decimal("-12.50"), 5)),
    ],
)
def test_days_times_addresses_and_numbers_are_written_as_people_write_them(type_, text, of_driver):
    assert from_json(type_, text) == of_driver
    assert to_json(type_, of_driver) == text


def test_a_number_of_more_digits_than_python_writes_is_base64():
    for type_, value in (("varint", b"\x01" * 2000), ("decimal", bytes(4) + b"\x01" * 2000)):
        assert json.dumps(to_json(type_, value)) == json.dumps(base64.b64encode(value).decode())


@pytest.mark.parametrize(("one", "other", "equal"), [("1.5", "1.50", True), ("0", "0.00", True), ("1.5", "15", False)])
def test_decimals_are_equal_as_a_server_finds_them(one, other, equal):
    assert alike("decimal", from_json("decimal", one), from_json("decimal", other)) == equal
    assert alike("decimal", from_json("decimal", "1E+2000000000"), from_json("decimal", one)) is False


def test_a_year_that_has_no_name_is_a_number():
    assert to_json("timestamp", 2**62) == 2**62
    assert from_json("timestamp", 2**62) == 2**62
    assert from_json("date", to_json("date", b"\xff" * 4)) == b"\xff" * 4


def test_bytes_are_base64_in_json():
    assert to_json("blob", b"\x00\xff") == base64.b64encode(b"\x00\xff").decode()
    assert from_json("blob", b"\x00\xff") == b"\x00\xff"


@pytest.mark.parametrize(
    ("type_", "dimension"),
    [
        ("vector<float, 384>", 384),
        ("vector<float,3>", 3),
        (" VECTOR < FLOAT , 12 > ", 12),
        ("vector<double, 3>", None),
        ("list<float>", None),
        ("text", None),
    ],
)
def test_the_dimension_of_a_vector_is_read_from_its_type(type_, dimension):
    assert vector_dimension(type_) == dimension


@unhurried
@given(st.integers(1, 16_000))
def test_a_vector_type_tells_its_dimension(dimension):
    assert vector_dimension(vector_type(dimension)) == dimension
    assert arrow_type(vector_type(dimension)) == pa.list_(pa.float32(), dimension)


@pytest.mark.parametrize("type_", ["decimal", "set<text>", "frozen<address>", "vector<double, 3>"])
def test_what_need_not_be_understood_travels_as_bytes(type_):
    assert is_opaque(type_)
    assert arrow_type(type_) == pa.binary()


@pytest.mark.parametrize("type_", ["text", "int", "uuid", "timestamp", "vector<float, 3>"])
def test_what_is_understood_is_not_opaque(type_):
    assert not is_opaque(type_)


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("text", "ä", b"\xc3\xa4"),
        ("int", -2, b"\xff\xff\xff\xfe"),
        ("bigint", 1, b"\x00" * 7 + b"\x01"),
        ("smallint", 258, b"\x01\x02"),
        ("tinyint", -1, b"\xff"),
        ("timestamp", 0, b"\x00" * 8),
        ("boolean", True, b"\x01"),
        ("boolean", False, b"\x00"),
        ("uuid", b"u" * 16, b"u" * 16),
    ],
)
def test_a_key_is_hashed_in_the_form_of_the_protocol(type_, value, expected):
    assert key_bytes(type_, value) == expected


def test_a_float_is_no_key():
    with pytest.raises(InputError, match="double"):
        key_bytes("double", 1.5)


def test_a_key_of_one_column_is_the_value_alone():
    assert partition_key([b"abc"]) == b"abc"


def test_a_key_of_several_columns_holds_their_lengths():
    assert partition_key([b"abc", b"", b"\x01"]) == b"\x00\x03abc\x00" + b"\x00\x00\x00" + b"\x00\x01\x01\x00"


@unhurried
@given(st.lists(st.binary(max_size=5), min_size=2, max_size=4), st.lists(st.binary(max_size=5), min_size=2, max_size=4))
def test_different_keys_of_several_columns_never_look_alike(one, other):
    assert (partition_key(one) == partition_key(other)) == (one == other)
