"""How far each feed of changes was followed."""

from __future__ import annotations

from jobs.catalog.tables import FEED, now_us
from jobs.stores.contract import Store


def read_position(store: Store, alias: str, feed: str) -> int | None:
    """The last position of a feed that was done; None where there is none."""
    row = store.records.get(FEED, {"alias": alias, "feed": feed})
    return None if row is None else int(row["position"])


def write_position(store: Store, alias: str, feed: str, position: int) -> None:
    """Write down that everything up to a position is done."""
    store.records.put(FEED, [{"alias": alias, "feed": feed, "position": position, "updated_us": now_us()}])
