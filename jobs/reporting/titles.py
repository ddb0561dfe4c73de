"""Titles of articles, so that people need not look up what an id means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from jobs.errors import InputError, SchemaError
from jobs.quality.questions import article_id
from jobs.stores.contract import Store, Table
from jobs.stores.values import arrow_type, from_json

_TITLE = "title"
_LONGEST = 120


def titles(store: Store, tables: Iterable[str], ids: Iterable[str]) -> dict[str, str]:
    """The titles of some articles, each from the first of the tables that has it.

    Returns:
        By id; without those that have none, and empty where the id is not the whole key or there is no such column.
    """
    wanted, found = {*ids}, dict[str, str]()
    for name in tables:
        try:
            table = store.describe(name)
        except SchemaError:
            continue  # retired, or dropped by hand
        missing = sorted(wanted - found.keys())
        if missing and len(table.keys) == 1 and table.column(_TITLE) is not None:
            found |= _read(store, table, missing)
    return found


def _read(store: Store, table: Table, ids: list[str]) -> dict[str, str]:
    key = table.keys[0]
    values = [value for each in ids if (value := _value(key.type, each)) is not None]
    batch = pa.RecordBatch.from_pydict({key.name: pa.array(values, arrow_type(key.type))})
    rows = store.fetch(table, batch, values=[_TITLE]).to_pylist()
    return {article_id(key.type, row[key.name]): str(row[_TITLE])[:_LONGEST] for row in rows if row[_TITLE]}


def _value(cql_type: str, text: str) -> Any:
    whole = cql_type in ("int", "bigint", "smallint", "tinyint")
    try:
        return from_json(cql_type, int(text) if whole else text)
    except (InputError, ValueError):
        return None
