"""CQL types as Arrow types, and conversions of single values: from JSON, to JSON, to the bytes of a key.

Types that embedshift need not understand (decimal, collections, UDTs, …) are *opaque*: they travel as the bytes of the
CQL protocol, and only between tables of one store.
"""

from __future__ import annotations

import base64
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import InputError
from embedshift.stores import opaque_values
from embedshift.stores.model import Table

_ARROW: dict[str, pa.DataType] = {
    "text": pa.string(),
    "varchar": pa.string(),
    "ascii": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "smallint": pa.int16(),
    "tinyint": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.int64(),
    "uuid": pa.binary(),
    "timeuuid": pa.binary(),
    "blob": pa.binary(),
}
_WIDTH = {"int": 4, "bigint": 8, "smallint": 2, "tinyint": 1, "timestamp": 8}
_VECTOR = re.compile(r"vector\s*<\s*float\s*,\s*(\d+)\s*>", re.IGNORECASE)
#: Types of one value in one cell; every other type is a collection, a tuple, a vector, a UDT or a Java class.
_NATIVE = frozenset(
    [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "counter",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "uuid",
        "varchar",
        "varint",
    ]
)
_ONE_CELL = re.compile(r"(frozen|tuple|vector)\s*<|'", re.IGNORECASE)
_COLLECTION = re.compile(r"(list|set|map)\s*<", re.IGNORECASE)
#: Types whose values a text template may name.
READABLE = frozenset({"text", "varchar", "ascii", "int", "bigint", "smallint", "tinyint", "boolean", "float", "double"})


def vector_type(dimension: int) -> str:
    """The CQL type of a vector of float32."""
    return f"vector<float, {dimension}>"


def vector_dimension(cql_type: str) -> int | None:
    """The dimension of a vector type; None for every other type."""
    match = _VECTOR.fullmatch(cql_type.strip())
    return int(match[1]) if match else None


def arrow_type(cql_type: str) -> pa.DataType:
    """The Arrow type in which a column of that CQL type travels.

    uuid and timeuuid are 16 bytes, timestamp is int64 milliseconds since the epoch, vectors are fixed-size lists of
    float32, opaque types are the protocol's bytes.
    """
    dimension = vector_dimension(cql_type)
    if dimension is not None:
        return pa.list_(pa.float32(), dimension)
    return _ARROW.get(cql_type, pa.binary())


def matrix(column: pa.Array) -> NDArray[np.float32]:
    """A column of vectors without nulls as one array of shape (rows, dimension)."""
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def readable(table: Table) -> dict[str, bool]:
    """The columns of a table, and whether a text template may name them."""
    return {column.name: column.type in READABLE for column in table.columns}


def is_opaque(cql_type: str) -> bool:
    """Whether values of that type travel as bytes that embedshift does not interpret."""
    return cql_type not in _ARROW and vector_dimension(cql_type) is None


def is_many_celled(cql_type: str) -> bool:
    """Whether a value of that type is several cells with separate write times (collections and UDTs, if not frozen)."""
    return cql_type not in _NATIVE and not _ONE_CELL.match(cql_type)


def is_user_type(cql_type: str) -> bool:
    """Whether a value of that type is a UDT whose fields are separate cells."""
    return is_many_celled(cql_type) and not _COLLECTION.match(cql_type)


def key_bytes(cql_type: str, value: Any) -> bytes:
    """One value in the CQL protocol's form, as the hash of the partition key takes it.

    ``value`` is the value as it travels in Arrow, as a Python object.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if cql_type == "boolean":
        return b"\x01" if value else b"\x00"
    if cql_type in _WIDTH:
        return int(value).to_bytes(_WIDTH[cql_type], "big", signed=True)
    raise InputError(f"a value of type {cql_type} cannot be part of a partition key here")


def partition_key(parts: list[bytes]) -> bytes:
    """The serialised partition key: the value alone, or each value with its length if there are several."""
    if len(parts) == 1:
        return parts[0]
    return b"".join(len(part).to_bytes(2, "big") + part + b"\x00" for part in parts)


def from_json(cql_type: str, value: Any) -> Any:
    """A value of a JSON line as it travels in Arrow. Raises InputError if it does not fit the type."""
    if value is None:
        return None
    try:
        return _from_json(cql_type, value)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{_short(value)} is not a {cql_type}") from error


def _from_json(cql_type: str, value: Any) -> Any:
    if cql_type in ("text", "varchar", "ascii"):
        if not isinstance(value, str):
            raise TypeError(value)
        value.encode("ascii" if cql_type == "ascii" else "utf-8")
        return value
    if cql_type in ("uuid", "timeuuid"):
        return (value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))).bytes
    if cql_type == "boolean":
        if not isinstance(value, bool):
            raise TypeError(value)
        return value
    if cql_type == "timestamp":
        return _milliseconds(value)
    if cql_type in _WIDTH:
        if isinstance(value, bool) or int(value) != value:
            raise TypeError(value)
        int(value).to_bytes(_WIDTH[cql_type], "big", signed=True)
        return int(value)
    if cql_type in ("float", "double"):
        if isinstance(value, bool | str):
            raise TypeError(value)
        return float(value)
    if vector_dimension(cql_type) is not None:
        if len(value) != vector_dimension(cql_type):
            raise ValueError(value)
        return [float(each) for each in value]
    return value if isinstance(value, bytes) else _opaque(cql_type, value)


def _opaque(cql_type: str, value: Any) -> bytes:
    found = opaque_values.encode(cql_type, value)
    return base64.b64decode(value, validate=True) if found is None else found


def _milliseconds(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def to_json(cql_type: str, value: Any) -> Any:
    """A value that travels in Arrow as a JSON value; the inverse of ``from_json``."""
    if value is None:
        return None
    if cql_type in ("uuid", "timeuuid"):
        return str(uuid.UUID(bytes=bytes(value)))
    if cql_type == "timestamp":
        try:
            return datetime.fromtimestamp(value / 1000, UTC).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError, OSError):  # Python's calendar ends with the year 9999
            return value
    if isinstance(value, bytes):
        found = opaque_values.decode(cql_type, value)
        return base64.b64encode(value).decode() if found is None else found
    return value
