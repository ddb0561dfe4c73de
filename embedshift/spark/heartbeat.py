"""How far a task is in its range, told to the catalog while the range is under way."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress

from embedshift.background import repeated
from embedshift.catalog.activity import Activity, forget_task, tell_task
from embedshift.errors import StoreUnavailable
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.tokens import TokenRange

#: Seconds between two reports; a range that takes less reports nothing.
_BEAT_S = 2.0


class Heartbeat:
    """What the task of one range is doing, and how many of its rows it has behind it."""

    def __init__(self, catalog: Store, transfer: Transfer, within: TokenRange) -> None:
        self.doing = "reading"
        self.rows = 0
        self._catalog, self._transfer, self._range = catalog, transfer, within
        self._told = False

    def count(self, rows: int) -> None:
        """So many more rows are unchanged, embedded or copied."""
        self.rows += rows

    def beating(self) -> AbstractContextManager[None]:
        """Report every two seconds until the block ends."""
        # It is only for people; if the catalog is away, the task itself will notice.
        return repeated(self._beat, _BEAT_S, "embedshift-heartbeat", despite=StoreUnavailable)

    def end(self) -> None:
        """The range is recorded: from now on its rows are counted there."""
        if self._told:
            with suppress(StoreUnavailable):
                forget_task(self._catalog, self._transfer.migration)

    def _beat(self) -> None:
        activity = Activity(self._transfer.step, self.doing, self.rows, self._range.start)
        tell_task(self._catalog, self._transfer.migration, activity)
        self._told = True
