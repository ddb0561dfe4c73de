"""The driver's part of the throttle: operators' requests become a throttle state that every task of the run reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from embedshift.background import repeated
from embedshift.catalog.throttle import ThrottleState, publish, requested, throttle_state, withdraw
from embedshift.errors import StoreUnavailable
from embedshift.settings import ThrottleSettings
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Seconds between two reads of what operators request.
_LOOK_S = 0.5
#: The number of tasks is the maximum of this many reads: between two tasks a core is idle for a moment.
_LOOKS = 6


@contextmanager
def throttled(
    spark: SparkContext, store: Store, transfer: Transfer, settings: ThrottleSettings, say: Callable[[str], None]
) -> Iterator[None]:
    """Keep the tasks of a transfer to the limits of operators and settings, until the block ends.

    Args:
        spark: runs the tasks; it knows how many there are, among which a rate is shared.
        settings: apply if no operator has requested anything.
        say: is given a line when the run begins to wait, and when it continues.
    """
    if not transfer.run:
        yield
        return
    driver = _ThrottleDriver(spark, store, transfer, settings, say)
    # Before the first task, which would otherwise go at full speed until it reads the state again.
    driver.look()
    try:
        # If the store does not answer, the tasks keep to the last state until it does.
        with repeated(driver.look, _LOOK_S, "embedshift-throttle", despite=StoreUnavailable):
            yield
    finally:
        # If the store does not answer now, that must not hide why the run ended.
        with suppress(StoreUnavailable):
            withdraw(store, transfer.migration)


class _ThrottleDriver:
    def __init__(
        self,
        spark: SparkContext,
        store: Store,
        transfer: Transfer,
        settings: ThrottleSettings,
        say: Callable[[str], None],
    ) -> None:
        self._spark, self._store = spark, store
        self._migration, self._run = transfer.migration, transfer.run
        self._settings, self._say = settings, say
        self._state: ThrottleState | None = None
        self._tasks: deque[int] = deque(maxlen=_LOOKS)

    def look(self) -> None:
        """Publish the throttle state if it has changed."""
        paused, limits = requested(self._store, self._migration, self._settings)
        tasks = 1 if limits.rows_per_second is None else self._running()
        state = throttle_state(paused, limits, datetime.now(UTC), tasks)
        if state == self._state:
            return
        publish(self._store, self._migration, self._run, state)
        waited, self._state = self._state.wait if self._state else "", state
        if state.wait != waited:
            self._say(f"waiting: {state.wait}" if state.wait else "continuing")

    def _running(self) -> int:
        """How many tasks share the rate: as many as ran lately; before the first, as many as can."""
        from py4j.protocol import Py4JError

        try:
            tracker = self._spark.statusTracker()
            stages = [tracker.getStageInfo(each) for each in tracker.getActiveStageIds()]
            self._tasks.append(sum(each.numActiveTasks for each in stages if each is not None))
            return max(self._tasks) or self._spark.defaultParallelism
        # The JVM has ended, which the step itself will say.
        except (Py4JError, OSError):
            return max(self._tasks, default=0) or 1
