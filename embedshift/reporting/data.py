"""The data of a report: the record of a validation, and further data from the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from embedshift.catalog.migration import Migration
from embedshift.catalog.ranges import read_ranges
from embedshift.catalog.service_account import spending
from embedshift.catalog.shadow import read_shadow
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import InputError, SchemaError
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type, from_json
from embedshift.stores.model import Table
from embedshift.validation.questions import article_id

_BINS = 60


def throughput(store: Store, migration: str) -> dict[str, Any] | None:
    """The speed of the load.

    Each finished range counts evenly over the seconds that it took.

    Returns:
        ``edges_s`` (n + 1 seconds since the load began), ``rows_per_s`` (n), ``rows``, ``ranges``, ``seconds``,
        ``rows_per_s_mean`` and ``from_us``; None if no range with a row is done.
    """
    done = [
        (each.ended_us, max(each.seconds, 1e-3), each.counts.read)
        for each in read_ranges(store, migration, "load")
        if each.state == "done" and each.counts.read and each.ended_us
    ]
    if not done:
        return None
    ended, took, rows = (np.array(column, np.float64) for column in zip(*done, strict=True))
    from_us = float((ended - took * 1e6).min())
    stop = (ended - from_us) / 1e6
    start = stop - took
    edges = np.linspace(0, stop.max(), min(_BINS, 4 * len(done)) + 1)
    # Rows per second: each range adds its share to the time that it took.
    by_then = (np.clip((edges[:, None] - start) / took, 0, 1) * rows).sum(axis=1)
    return {
        "edges_s": edges.tolist(),
        "rows_per_s": (np.diff(by_then) / np.diff(edges)).tolist(),
        "rows": int(rows.sum()),
        "ranges": len(done),
        "seconds": float(stop.max()),
        "rows_per_s_mean": float(rows.sum() / stop.max()),
        "from_us": int(from_us),
    }


_TITLE = "title"
_LONGEST = 120


def titles(store: Store, tables: Iterable[str], ids: Iterable[str]) -> dict[str, str]:
    """The titles of some articles, each from the first table that has it.

    Returns:
        By id, without articles that have none; empty if the id is not the whole key or there is no such column.
    """
    wanted, found = {*ids}, dict[str, str]()
    for name in tables:
        try:
            table = store.describe(name)
        except SchemaError:
            continue  # retired or dropped by hand
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


def material(store: Store, migration: Migration, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with ``vector_tables``, ``throughput``, ``shadow`` and ``titles`` added; nothing is written.

    What the record already has is kept.
    """
    known = {
        "tables": {"old": _vector_table(migration.source), "new": _vector_table(migration.target)},
        "throughput": throughput(store, migration.id),
        "shadow": read_shadow(store, migration.id),
        "services": [asdict(each) for each in spending(store, migration.id)],
        "titles": titles(store, (migration.target.table, migration.source.table), _named(record)),
    }
    return {**known, **{key: value for key, value in record.items() if value is not None or key not in known}}


def _vector_table(vector_table: VectorTable) -> dict[str, Any]:
    model, options = vector_table.model, vector_table.index_options.model_dump(mode="json", exclude_none=True)
    return {
        "table": vector_table.table,
        "model": model.name,
        "revision": model.revision,
        "dimension": model.dimension,
        "precision": model.precision,
        "fingerprint": model.fingerprint,
        "index": ", ".join(f"{name} {value}" for name, value in options.items()),
    }


def _named(record: Mapping[str, Any]) -> set[str]:
    lost = (record.get("relevance") or {}).get("lost_most") or []
    return {str(name) for each in lost for side in ("old_results", "new_results") for name in each.get(side) or []}
