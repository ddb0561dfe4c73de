"""Follow a feed of changes to keep vectors fresh: every change is applied at least once; the catalog has the position.

A feed is a stream of JSON lines, or a database's change log of a table.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from queue import Empty, Queue
from typing import Any

from embedshift.articles.bulk import Refreshed
from embedshift.articles.client import Articles
from embedshift.catalog.tables import FEED
from embedshift.errors import InputError, UsageError
from embedshift.stores.contract import Store
from embedshift.times import now_us
from embedshift.tokens import WHOLE_RING


def read_position(store: Store, alias: str, feed: str) -> int | None:
    """The position of the last event of a feed that was applied; None if there is none."""
    row = store.records.get(FEED, {"alias": alias, "feed": feed})
    return None if row is None else int(row["position"])


def write_position(store: Store, alias: str, feed: str, position: int) -> None:
    """Record that everything up to a position is done."""
    store.records.put(FEED, [{"alias": alias, "feed": feed, "position": position, "updated_us": now_us()}])


#: How many events are applied together, and how many seconds the first of them waits for others.
_BATCH, _WAIT_S = 256, 0.5
#: Seconds between two reads of a change log that has nothing new.
LOOK_S = 1.0
_OPERATIONS = ("put", "delete", "refresh")


@dataclass(frozen=True, slots=True)
class Event:
    """One change: ``put`` an article, or ``delete`` or ``refresh`` an id. With the line's number and the position."""

    operation: str
    what: Any
    line: int
    position: int | None = None


@dataclass(slots=True)
class Fed:
    """What a feed has done: events by operation, events that were already done before, and faults by line."""

    put: int = 0
    deleted: int = 0
    skipped: int = 0
    refreshed: Refreshed = field(default_factory=Refreshed)
    faults: list[tuple[int, str]] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events were received."""
        seen = self.refreshed
        looked = seen.embedded + seen.unchanged + seen.absent + len(seen.failed)
        return self.put + self.deleted + self.skipped + looked + len(self.faults)


def parse_event(line: bytes, number: int) -> Event:
    """An event of one JSON line: ``{"put": {…}}``, ``{"delete": ID}`` or ``{"refresh": ID}``, position optional.

    Raises:
        InputError: it is not an event.
    """
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON") from error
    named = [name for name in _OPERATIONS if isinstance(tree, dict) and name in tree]
    if len(named) != 1 or set(tree) - {named[0], "position"}:
        raise InputError('is not an event: write {"put": ARTICLE}, {"delete": ID} or {"refresh": ID}, and "position"')
    position = tree.get("position")
    if position is not None and (isinstance(position, bool) or not isinstance(position, int)):
        raise InputError("has a position that is not a whole number")
    return Event(named[0], tree[named[0]], number, position)


def follow_lines(
    articles: Articles, store: Store, lines: Iterable[bytes], feed: str, report: Callable[[Fed], None]
) -> Fed:
    """Apply the events of a stream of JSON lines, in order, until it ends.

    Events whose position is not above the last one done are skipped, so that a stream may be sent again from any
    earlier point. The position is recorded after its events are done: what was running when a run was killed is done
    again.

    Args:
        lines: may be slow; what has arrived is applied after half a second.
        feed: the name under which the position is recorded.
        report: called after each batch.

    Raises:
        StoreUnavailable, ModelUnavailable: the rest is not applied; start again from the position.
    """
    alias = articles.settings.alias
    fed = Fed()
    position = read_position(store, alias, feed)
    for batch in _batches(lines):
        events = []
        for number, line in batch:
            try:
                event = parse_event(line, number)
            except InputError as error:
                fed.faults.append((number, error.what))
                continue
            if event.position is not None and position is not None and event.position <= position:
                fed.skipped += 1
                continue
            events.append(event)
        _apply(articles, events, fed)
        reached = [event.position for event in events if event.position is not None]
        if reached:
            position = max(reached)
            write_position(store, alias, feed, position)
        report(fed)
    return fed


def follow_changes(
    articles: Articles,
    store: Store,
    feed: str,
    report: Callable[[Fed], None],
    *,
    lag_us: int,
    from_start: bool = False,
    once: bool = False,
    stopped: threading.Event | None = None,
) -> Fed:
    """Refresh the vectors of the rows that the live table's change log names.

    The position is a time. It starts at the present and stays a little behind it: the log is complete up to a moment
    only when the clocks of all writers have passed it.

    Args:
        lag_us: how far behind the present, in microseconds.
        from_start: begin with the oldest change in the log.
        once: end when there is nothing new.
        stopped: ends the following when set.

    Raises:
        SchemaError: the live table has no change log.
    """
    alias = articles.settings.alias
    stopped = stopped or threading.Event()
    fed = Fed()
    position = read_position(store, alias, feed)
    if position is None:
        position = 0 if from_start else now_us() - lag_us
    while not stopped.is_set():
        until = now_us() - lag_us
        if until > position:
            table = articles.live_table()
            for keys in store.changes(table, WHOLE_RING, position, until):
                fed.refreshed += articles.refresh_keys(keys.to_pylist())
            position = until
            write_position(store, alias, feed, position)
            report(fed)
        if once:
            break
        stopped.wait(LOOK_S)
    return fed


def _apply(articles: Articles, events: Iterable[Event], fed: Fed) -> None:
    """Apply events in order; neighbours of one kind are applied together."""
    for operation, run in groupby(events, key=lambda event: event.operation):
        together = list(run)
        if operation == "put":
            added = articles.add_many([event.what for event in together])
            fed.put += added.written
            fed.faults += [(together[each.position].line, each.reason) for each in added.failures]
        else:
            for event in together:
                _one(articles, event, fed)


def _one(articles: Articles, event: Event, fed: Fed) -> None:
    try:
        if event.operation == "delete":
            articles.delete(event.what)
            fed.deleted += 1
        else:
            fed.refreshed += articles.refresh([event.what])
    except UsageError as error:
        fed.faults.append((event.line, str(error)))


def _batches(lines: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """Lines with their numbers, as many as arrive within a moment."""
    queue: Queue[tuple[int, bytes] | BaseException | None] = Queue(maxsize=4 * _BATCH)

    def read() -> None:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    queue.put((number, line))
        # Whatever ends the reading is raised where the lines are used.
        except BaseException as error:  # noqa: BLE001
            queue.put(error)
        else:
            queue.put(None)

    threading.Thread(target=read, name="embedshift-feed", daemon=True).start()
    ended: BaseException | bool | None = False
    while ended is False:
        batch: list[tuple[int, bytes]] = []
        deadline: float | None = None
        while ended is False and len(batch) < _BATCH:
            try:
                item = queue.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if isinstance(item, tuple):
                batch.append(item)
                deadline = deadline or time.monotonic() + _WAIT_S
            else:
                ended = item
        if batch:
            yield batch
    if isinstance(ended, BaseException):
        raise ended


def counts(fed: Fed) -> Mapping[str, int]:
    """The figures of a feed, for reports."""
    return {
        "put": fed.put,
        "deleted": fed.deleted,
        "embedded": fed.refreshed.embedded,
        "unchanged": fed.refreshed.unchanged,
        "absent": fed.refreshed.absent,
        "skipped": fed.skipped,
        "faults": len(fed.faults) + len(fed.refreshed.failed),
    }
