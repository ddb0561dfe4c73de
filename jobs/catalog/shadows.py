"""What shadow reading has measured of a migration: one row a run, added up when it is read."""

from __future__ import annotations

from typing import Any

from jobs.catalog.tables import SHADOW, now_us
from jobs.catalog.tally import Tally
from jobs.errors import SchemaError
from jobs.stores.contract import Store


def write_shadow(store: Store, migration: str, run: str, tally: Tally) -> None:
    """Write all that a run has measured so far, over what it wrote before."""
    row = {"migration": migration, "run": run, "tally": tally.to_json(), "updated_us": now_us()}
    store.records.put(SHADOW, [row])


def read_shadow(store: Store, migration: str) -> dict[str, Any] | None:
    """The sum over all runs, as the record of a validation has it; None where there was no search."""
    try:
        rows = list(store.records.select(SHADOW, {"migration": migration}))
    except SchemaError:
        if store.records.has(SHADOW):
            raise
        return None  # the catalog of an older version
    tally = sum((Tally.from_json(row["tally"]) for row in rows), Tally())
    return tally.report() if tally.searches else None
