"""Ids of articles: as callers write them, as the store takes them, and as the catalog names them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import Any

import pyarrow as pa

from embedshift.errors import InputError, SchemaError
from embedshift.stores.cql_types import arrow_type, from_json, to_json
from embedshift.stores.model import Column, Table
from embedshift.times import now_us

#: A primary key's values by column, in their Arrow form.
Key = dict[str, Any]
_STRIPES = 64
#: Types whose values JSON writes without quotes.
_BARE = frozenset({"int", "bigint", "smallint", "tinyint", "float", "double", "boolean"})


def typed(column: Column, value: Any) -> Any:
    """A caller's value of a column in its Arrow form. Raises InputError if it does not fit the type."""
    try:
        value = from_json(column.type, value)
        pa.scalar(value, arrow_type(column.type))
    except InputError as error:
        raise InputError(f"{column.name}: {error.what}", hint=f"give a {column.type}") from error
    except (pa.ArrowException, OverflowError) as error:
        raise InputError(f"{column.name} is not a {column.type}", hint="give a value of that type") from error
    return value


def key_of(table: Table, id: Any) -> Key:
    """The primary key that an id stands for.

    Args:
        table: whose key it is.
        id: the value of the one key column, or a mapping of column names to values if the key has several.

    Raises:
        InputError: a part is missing, unknown, empty, or of another type.
    """
    names = [column.name for column in table.keys]
    if not isinstance(id, Mapping):
        if len(names) != 1:
            raise InputError(f"an article of {table.name} has the key {', '.join(names)}", hint="give a mapping of all")
        id = {names[0]: id}
    unknown = [str(name) for name in id if name not in names]
    if unknown:
        raise InputError(f"{unknown[0]} is not in the key of {table.name}", hint=f"give {', '.join(names)}")
    key = {}
    for column in table.keys:
        value = typed(column, id.get(column.name))
        # An empty text may be a clustering value; no store takes it as the whole partition key.
        if value is None or (column.role == "partition" and value in ("", b"")):
            raise InputError(f"the article has no {column.name}", hint=f"give a {column.type}")
        key[column.name] = value
    return key


def parse_id(table: Table, text: str) -> Any:
    """An id as it was typed on a command line: the value itself, or a JSON object if the key has several columns."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if len(table.keys) > 1:
            names = ", ".join(key.name for key in table.keys)
            raise InputError(f"the id {text[:60]!r} is not JSON", hint=f"write an object with {names}") from error
        return text
    whole = isinstance(value, dict) and value.keys() == {key.name for key in table.keys}
    return value if whole or len(table.keys) > 1 or table.keys[0].type in _BARE else text


def parse_condition(table: Table, texts: Sequence[str]) -> dict[str, Any]:
    """Conditions as they were typed on a command line: ``column=value``, numbers and booleans as in JSON.

    A timestamp is a date and time, or a number of milliseconds.

    Raises:
        InputError: one is of another form.
        SchemaError: there is no such column.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        column = table.column(name)
        if not equals:
            raise InputError(f"{text[:60]!r} is no condition", hint="write COLUMN=VALUE")
        if name in found:
            raise InputError(f"there are two conditions on {name}", hint="give one")
        if column is None:
            raise SchemaError(f"{table.name} has no column {name} to search by", hint="see its description")
        found[name] = value
        if column.type in _BARE or (column.type == "timestamp" and value.lstrip("-").isdecimal()):
            try:
                found[name] = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{value[:60]!r} is not a {column.type}", hint=f"give {name} another value") from error
    return found


def plain_id(table: Table, key: Key) -> Any:
    """An id as callers see it: the value of the one key column, or a dict if there are several, as JSON values."""
    values = {column.name: to_json(column.type, key[column.name]) for column in table.keys}
    return values if len(values) > 1 else next(iter(values.values()))


def name_of(table: Table, key: Key) -> str:
    """The primary key as JSON: how the catalog and people name a row. Equal to ``spark.rows.Layout.names``."""
    return json.dumps({column.name: to_json(column.type, key[column.name]) for column in table.keys})


def keys_batch(table: Table, keys: Sequence[Key]) -> pa.RecordBatch:
    """Primary keys as ``Store.fetch`` and ``Store.delete`` take them."""
    return pa.RecordBatch.from_pydict(
        {column.name: pa.array([key[column.name] for key in keys], arrow_type(column.type)) for column in table.keys}
    )


class RowLocks:
    """One writer for each row within this client, so that two read-and-write operations on a row do not mix.

    Rows share a fixed number of locks, which are always taken in the same order, so that no two holders deadlock.
    """

    def __init__(self) -> None:
        self._stripes = [RLock() for _ in range(_STRIPES)]

    @contextmanager
    def held(self, names: Iterable[str]) -> Iterator[None]:
        """Hold the rows of these names."""
        with ExitStack() as stack:
            for stripe in sorted({zlib.crc32(name.encode()) % _STRIPES for name in names}):
                stack.enter_context(self._stripes[stripe])
            yield


class Clock:
    """A clock that never repeats a value and never goes back, so that of two writes the later one wins."""

    def __init__(self) -> None:
        self._last_us = 0
        self._lock = Lock()

    def next(self) -> int:
        """The present in microseconds since the epoch, or one more than the previous answer if that is greater."""
        with self._lock:
            self._last_us = max(self._last_us + 1, now_us())
            return self._last_us
