"""Whether a task may still write: its run owns the migration, and both tables are those that it was planned for."""

from __future__ import annotations

import time

from embedshift.catalog.guard import check_may_delete
from embedshift.catalog.migration import peek_owner
from embedshift.errors import OwnedByAnother, SchemaError
from embedshift.spark.stores import Stores
from embedshift.spark.transfer import Transfer

#: Seconds for which a look is good. A process that slept longer looks again before it writes anything.
LOOK_S = 1.0


class Fence:
    """What stands between the task of a run and the tables.

    It narrows the time in which a task of a lost run can still write; that nothing is lost even then follows from what
    it writes: cells with their own write times, and deletions of rows that are older than its pass.
    """

    def __init__(self, stores: Stores, transfer: Transfer) -> None:
        self._stores, self._transfer = stores, transfer
        self._looked_s = float("-inf")

    def before_writing(self) -> None:
        """Look, unless the last look was less than a second ago.

        Raises:
            OwnedByAnother: the run is over.
            SchemaError: a table was dropped, or created anew under its name.
        """
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self.check_owner()
        layout = self._transfer.layout
        for store, table, planned in (
            (self._stores.source, layout.source.table, layout.source_id),
            (self._stores.target, layout.target.table, layout.target_id),
        ):
            if store.table_id(table) != planned:
                raise SchemaError(
                    f"the table {table} was created anew since this run began", hint="look at embedshift status"
                )
        self._looked_s = time.monotonic()

    def check_owner(self) -> None:
        """Raises OwnedByAnother if the run is over."""
        transfer = self._transfer
        if transfer.owner and peek_owner(self._stores.catalog, transfer.migration)[0] != transfer.owner:
            raise OwnedByAnother(f"the run of this task has ended: it no longer owns {transfer.migration}")

    def before_deleting(self) -> None:
        """Look in any case, and serially at owner and alias. Raises the same errors."""
        self._looked_s = float("-inf")
        self.before_writing()
        transfer = self._transfer
        if transfer.owner:
            table = transfer.layout.target.table
            check_may_delete(self._stores.catalog, transfer.migration, transfer.owner, table, live=transfer.into_live)
