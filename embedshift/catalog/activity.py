"""What a running step is doing at this moment, as its run and each of its tasks say every few seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from embedshift.catalog.actor import is_dead, whoami
from embedshift.catalog.signals import Signal, send, signals_under, withdraw_signals
from embedshift.errors import StoreUnavailable
from embedshift.stores.contract import Store
from embedshift.times import now_us

#: The signals' names: of the run itself, and of its tasks, followed by the process.
_RUN, _TASK = "activity/run", "activity/task/"
#: What a task said longer ago than this is ignored: it says something every few seconds.
_FRESH_US = 15_000_000


@dataclass(frozen=True, slots=True)
class Activity:
    """What a task is doing in which step, and how many rows of the range under way it has behind it.

    ``range_start`` names that range.
    """

    step: str
    doing: str
    rows: int = 0
    range_start: int | None = None


def tell_task(store: Store, migration: str, activity: Activity) -> None:
    """A task says what it is doing."""
    send(store, migration, _TASK + whoami(), json.dumps(asdict(activity)))


def forget_task(store: Store, migration: str) -> None:
    """The range of this task is recorded: its rows are counted there."""
    withdraw_signals(store, migration, [_TASK + whoami()])


@contextmanager
def announced(store: Store, migration: str, doing: str) -> Iterator[None]:
    """Let watchers know what takes time until the block ends, or until tasks say more."""
    # A run that was killed could not take back what it and its tasks said.
    _forget_all(store, migration)
    send(store, migration, _RUN, doing)
    try:
        yield
    finally:
        # It is only for people; if the store does not answer, the step itself will notice.
        with suppress(StoreUnavailable):
            _forget_all(store, migration)


def _forget_all(store: Store, migration: str) -> None:
    withdraw_signals(store, migration, [*signals_under(store, migration, _TASK), _RUN])


def activity_of(store: Store, migration: str, step: str, since_us: int = 0) -> Activity:
    """What the run as a whole is doing: what its tasks say, added up, or before that what the run says.

    Args:
        since_us: when the run began; what an earlier one said is ignored.
    """
    said = signals_under(store, migration, "activity/")
    if tasks := _tasks(said, step):
        return Activity(step, ", ".join(sorted({each.doing for each in tasks})), sum(each.rows for each in tasks))
    run = said.get(_RUN)
    return Activity(step, run.text if run is not None and run.sent_us >= since_us else "")


def _tasks(said: Mapping[str, Signal], step: str) -> list[Activity]:
    """What living tasks of a step said; of two that have the same range, the one that began it again."""
    fresh = [
        signal
        for name, signal in said.items()
        if name.startswith(_TASK) and signal.sent_us > now_us() - _FRESH_US and not is_dead(signal.sent_by)
    ]
    told = (Activity(**json.loads(each.text)) for each in sorted(fresh, key=lambda each: each.sent_us))
    return list({each.range_start: each for each in told if each.step == step}.values())
