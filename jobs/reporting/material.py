"""What a report is drawn from: the record of a validation, and what the catalog knows beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.catalog.endpoint import Endpoint
from jobs.catalog.migration import Migration
from jobs.catalog.shadows import read_shadow
from jobs.reporting.throughput import throughput
from jobs.reporting.titles import titles
from jobs.stores.contract import Store


def material(store: Store, migration: Migration, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with ``endpoints``, ``throughput``, ``shadow`` and ``titles``; nothing is written.

    What a record has already, it keeps.
    """
    known = {
        "endpoints": {"old": _endpoint(migration.source), "new": _endpoint(migration.target)},
        "throughput": throughput(store, migration.id),
        "shadow": read_shadow(store, migration.id),
        "titles": titles(store, (migration.target.table, migration.source.table), _named(record)),
    }
    return {**known, **{key: value for key, value in record.items() if value is not None or key not in known}}


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    model, options = endpoint.model, endpoint.index_options.model_dump(mode="json", exclude_none=True)
    return {
        "table": endpoint.table,
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
