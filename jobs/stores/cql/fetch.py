"""Reading single rows by their primary keys."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from jobs.errors import InputError
from jobs.stores.cql import flight, wire
from jobs.stores.cql.incoming import keys_of
from jobs.stores.cql.projection import Projection
from jobs.stores.cql.session import SCAN, Link, bound


def fetch(link: Link, projection: Projection, keys: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of these primary keys that there are, in any order (``contract.Store.fetch``).

    Raises:
        InputError: a row of ``keys`` is no key.
        StoreUnavailable: some could not be read.
    """
    table = projection.table
    faults: dict[int, str] = {}
    wanted = dict.fromkeys(keys_of(table, keys, faults))
    if faults:
        row = min(faults)
        raise InputError(f"row {row} has no key of {table.name}: {faults[row]}")
    by_key = link.prepare(projection.statement(projection.by_key, link.keyspace))
    partitions = sum(column.role == "partition" for column in table.keys)
    requests = []
    for key in wanted:
        if None in key:  # stands for static cells alone
            by_partition = link.prepare(projection.statement(projection.by_partition, link.keyspace))
            requests.append(bound(by_partition, list(key[:partitions])))
        else:
            requests.append(bound(by_key, list(key)))
    found: list[wire.Page] = []

    def keep(_place: int, pages: Any) -> None:
        if pages[0].rows:
            found.append(pages[0])

    flight.send(link, requests, SCAN, doing=f"reading {table.name}", answered=keep)
    if not found:
        return projection.empty()
    batch = projection.batch(wire.join(found))
    if any(None in key for key in wanted):  # such a partition may have got rows since
        batch = batch.filter(pa.array([key in wanted for key in keys_of(table, batch, {})]))
    return batch
