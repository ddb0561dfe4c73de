"""Reading token ranges, page by page."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from jobs.errors import StoreUnavailable
from jobs.stores.cql import faults, wire
from jobs.stores.cql.projection import Projection
from jobs.stores.cql.routing import RangeStatement
from jobs.stores.cql.session import SCAN, Link
from jobs.tokens import TokenRange

#: How large a page is meant to be: large enough to amortise the request, small enough for every server's heap.
PAGE_BYTES = 1 << 20
PAGE_ROWS_MIN = 8
#: Rows of the first page, before anything is known of their size.
ROWS_FIRST = 100
#: How often in a row one page may fail before the range is given up; each time it is asked for half as many rows.
ATTEMPTS = 6


class PageSize:
    """Rows asked for in one page: as many as fill ``PAGE_BYTES``, half after each failure.

    Args:
        rows_max: most rows of a page.
    """

    def __init__(self, rows_max: int) -> None:
        self.rows_max = rows_max
        self.rows = min(rows_max, ROWS_FIRST)

    def grown(self, page: wire.Page) -> None:
        """Learn from a page that came."""
        if page.rows:
            fitting = PAGE_BYTES * page.rows // max(1, len(page.body) - page.offset)
            self.rows = max(PAGE_ROWS_MIN, min(self.rows_max, 4 * self.rows, fitting))
            self.rows = min(self.rows, self.rows_max)

    def halved(self) -> None:
        """Ask for less after a failure."""
        self.rows = min(self.rows_max, max(PAGE_ROWS_MIN, self.rows // 2))


def scan(link: Link, projection: Projection, within: TokenRange, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a token range in token order; the next page is under way while the caller has this one.

    Raises:
        StoreUnavailable: a page did not come, though asked for again and again with fewer rows.
    """
    statement = link.prepare(projection.statement(projection.by_range, link.keyspace))
    edges = [edge.to_bytes(8, "big", signed=True) for edge in (within.start, within.end)]
    size = PageSize(batch_rows)

    def ask(state: bytes | None) -> Any:
        ready = RangeStatement(statement, edges, within.end)
        ready.fetch_size = size.rows
        return link.session.execute_async(ready, execution_profile=SCAN, paging_state=state)

    state: bytes | None = None
    future = ask(None)
    while True:
        page, after = _arrived(link, future, partial(ask, state), size, projection.table.name, within)
        size.grown(page)
        if after is not None:
            state, future = after, ask(after)
        if page.rows:
            yield projection.batch(page)
        if after is None:
            return


def _arrived(
    link: Link, future: Any, again: Callable[[], Any], size: PageSize, table: str, within: TokenRange
) -> tuple[wire.Page, bytes | None]:
    """A page and the state for the next one; asked for again with fewer rows where it fails for a passing reason."""
    for attempt in range(ATTEMPTS):
        try:
            result = future.result()
            return result.current_rows[0], result.paging_state
        except faults.RAISED as error:
            if not faults.is_transient(error):
                raise link.failed(error, f"reading {table}") from error
            last = error
        size.halved()
        if attempt + 1 < ATTEMPTS:
            time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))
            future = again()
    raise StoreUnavailable(
        f"the range {within} of {table} cannot be read ({faults.server_words(last)})",
        hint="smaller ranges may pass; else see the servers' logs",
    ) from last
