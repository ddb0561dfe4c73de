"""Reading rows: token ranges page by page, and rows by their keys."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from embedshift.errors import InputError, StoreUnavailable
from embedshift.stores.cql import driver_errors, inflight, wire
from embedshift.stores.cql.batch import keys_of
from embedshift.stores.cql.projection import Projection
from embedshift.stores.cql.replica_policy import RangeStatement
from embedshift.stores.cql.session import SCAN, CqlConnection, bound
from embedshift.tokens import TokenRange

#: The size of a page: large enough to amortise the request, small enough for every server's heap.
PAGE_BYTES = 1 << 20
PAGE_ROWS_MIN = 8
#: Rows of the first page, before the size of rows is known.
ROWS_FIRST = 100
#: How often in a row one page may fail before the scan of the range fails; each retry requests half as many rows.
ATTEMPTS = 6


class PageSize:
    """Rows requested in one page: as many as fill ``PAGE_BYTES``, half as many after each failure.

    Args:
        rows_max: most rows of a page.
    """

    def __init__(self, rows_max: int) -> None:
        self.rows_max = rows_max
        self.rows = min(rows_max, ROWS_FIRST)

    def grown(self, page: wire.Page) -> None:
        """Adapt to the size of a page that arrived."""
        if page.rows:
            fitting = PAGE_BYTES * page.rows // max(1, len(page.body) - page.offset)
            self.rows = max(PAGE_ROWS_MIN, min(self.rows_max, 4 * self.rows, fitting))
            self.rows = min(self.rows, self.rows_max)

    def halved(self) -> None:
        """Request less after a failure."""
        self.rows = min(self.rows_max, max(PAGE_ROWS_MIN, self.rows // 2))


def scan(
    connection: CqlConnection, projection: Projection, within: TokenRange, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a token range in token order; the next page is requested while the caller works on this one.

    The first page is requested at once, not when it is asked for: so the pages of two scans are on their way together.

    Raises:
        StoreUnavailable: a page did not arrive, although it was requested several times with ever fewer rows.
    """
    statement = connection.prepare(projection.statement(projection.by_range, connection.keyspace))
    edges = [edge.to_bytes(8, "big", signed=True) for edge in (within.start, within.end)]
    size = PageSize(batch_rows)

    def ask(state: bytes | None) -> Any:
        ready = RangeStatement(statement, edges, within.end)
        ready.fetch_size = size.rows
        return connection.session.execute_async(ready, execution_profile=SCAN, paging_state=state)

    return _batches(connection, projection, within, size, ask, ask(None))


def _batches(
    connection: CqlConnection,
    projection: Projection,
    within: TokenRange,
    size: PageSize,
    ask: Callable[[bytes | None], Any],
    future: Any,
) -> Iterator[pa.RecordBatch]:
    state: bytes | None = None
    while True:
        page, after = _arrived(connection, future, partial(ask, state), size, projection.table.name, within)
        size.grown(page)
        if after is not None:
            state, future = after, ask(after)
        if page.rows:
            yield projection.batch(page)
        if after is None:
            return


def _arrived(
    connection: CqlConnection, future: Any, again: Callable[[], Any], size: PageSize, table: str, within: TokenRange
) -> tuple[wire.Page, bytes | None]:
    """A page and the paging state of the next one; requested again with fewer rows after a transient failure."""
    for attempt in range(ATTEMPTS):
        try:
            result = future.result()
            return result.current_rows[0], result.paging_state
        except driver_errors.RAISED as error:
            if not driver_errors.is_transient(error):
                raise connection.failed(error, f"reading {table}") from error
            last = error
        size.halved()
        if attempt + 1 < ATTEMPTS:
            time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))
            future = again()
    raise StoreUnavailable(
        f"the range {within} of {table} cannot be read ({driver_errors.server_words(last)})",
        hint="try smaller ranges, or see the servers' logs",
    ) from last


def fetch(connection: CqlConnection, projection: Projection, keys: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of these primary keys (``contract.Store.fetch``)."""
    table = projection.table
    faults: dict[int, str] = {}
    wanted = dict.fromkeys(keys_of(table, keys, faults))
    if faults:
        row = min(faults)
        raise InputError(f"row {row} has no key of {table.name}: {faults[row]}")
    by_key = connection.prepare(projection.statement(projection.by_key, connection.keyspace))
    partitions = sum(column.role == "partition" for column in table.keys)
    requests = []
    for key in wanted:
        if None in key:  # only the static cells of the partition
            by_partition = connection.prepare(projection.statement(projection.by_partition, connection.keyspace))
            requests.append(bound(by_partition, list(key[:partitions])))
        else:
            requests.append(bound(by_key, list(key)))
    found: list[wire.Page] = []

    def keep(_place: int, pages: Any) -> None:
        if pages[0].rows:
            found.append(pages[0])

    inflight.send(connection, requests, SCAN, doing=f"reading {table.name}", answered=keep)
    if not found:
        return projection.empty()
    batch = projection.batch(wire.join(found))
    if any(None in key for key in wanted):  # such a partition may have rows by now
        batch = batch.filter(pa.array([key in wanted for key in keys_of(table, batch, {})]))
    return batch
