"""Reading rows: token ranges page by page, and rows by their keys."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
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
    pages = _Pages(connection, projection, within, PageSize(batch_rows))
    return pages.batches(pages.ask(None))


class _Pages:
    """The pages of one scan."""

    def __init__(self, connection: CqlConnection, projection: Projection, within: TokenRange, size: PageSize) -> None:
        self._connection, self._projection, self._within, self._size = connection, projection, within, size
        self._statement = connection.prepare(projection.statement(projection.by_range, connection.keyspace))

    def ask(self, state: bytes | None) -> Any:
        """Request the page of this paging state; None: the first. Returns the driver's future."""
        edges = [edge.to_bytes(8, "big", signed=True) for edge in (self._within.start, self._within.end)]
        ready = RangeStatement(self._statement, edges, self._within.end)
        ready.fetch_size = self._size.rows
        return self._connection.session.execute_async(ready, execution_profile=SCAN, paging_state=state)

    def batches(self, future: Any) -> Iterator[pa.RecordBatch]:
        """The rows of the page that was requested, and of all after it."""
        state: bytes | None = None
        while True:
            page, after = self._arrived(future, state)
            self._size.grown(page)
            if after is not None:
                state, future = after, self.ask(after)
            if page.rows:
                yield self._projection.batch(page)
            if after is None:
                return

    def _arrived(self, future: Any, state: bytes | None) -> tuple[wire.Page, bytes | None]:
        """A page and the paging state of the next one; requested again with fewer rows after a transient failure."""
        table = self._projection.table.name
        for attempt in range(ATTEMPTS):
            try:
                result = future.result()
                return result.current_rows[0], result.paging_state
            except driver_errors.RAISED as error:
                if not driver_errors.is_transient(error):
                    raise self._connection.failed(error, f"reading {table}") from error
                last = error
            self._size.halved()
            if attempt + 1 < ATTEMPTS:
                time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))
                future = self.ask(state)
        raise StoreUnavailable(
            f"the range {self._within} of {table} cannot be read ({driver_errors.server_words(last)})",
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
