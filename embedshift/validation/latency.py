"""How long searches of the old and the new table take. The tables take turns, so that noise affects both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.stores.contract import Store
from embedshift.stores.model import Index, Table

#: The numbers of clients that search at the same time.
CLIENTS = (1, 8)
_DEPTH = 10
#: Searches of each client and table that are not timed: connections open, statements are prepared, caches fill.
_WARM_UP = 3
#: Searches of each of several clients before the other table's turn.
_LOT = 2

Search = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Times:
    """The times of searches.

    Args:
        ms: sorted, milliseconds, shape (searches,).
    """

    ms: NDArray[np.float64]

    def at(self, percent: float) -> float:
        """The time within which this percentage of the searches was answered; NaN if there are none."""
        return float(np.percentile(self.ms, percent)) if len(self.ms) else float("nan")

    def tree(self) -> dict[str, Any]:
        """These times for the record."""
        quantiles = [round(self.at(percent), 4) for percent in range(101)] if len(self.ms) else []
        return {
            "searches": len(self.ms),
            **{f"p{percent}_ms": self.at(percent) for percent in (50, 95, 99)},
            "quantiles_ms": quantiles,
        }


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of both tables, by the number of clients."""

    old: dict[int, Times]
    new: dict[int, Times]

    def ratios(self) -> dict[int, float]:
        """The new table's p95 as a multiple of the old one's, by the number of clients."""
        return {clients: self.new[clients].at(95) / self.old[clients].at(95) for clients in self.old}

    def tree(self) -> dict[str, Any]:
        """The record's ``latency``."""
        return {
            "old": {str(clients): times.tree() for clients, times in self.old.items()},
            "new": {str(clients): times.tree() for clients, times in self.new.items()},
            "ratio_p95": {str(clients): ratio for clients, ratio in self.ratios().items()},
        }


def searcher(
    store: Store, table: Table, index: Index, vectors: NDArray[np.float32], rows: Sequence[Mapping[str, Any]]
) -> Search:
    """A search for the vector of one of several rows, chosen by a number, in turn.

    Args:
        store: has the table.
        table: as described.
        index: of the table.
        vectors: shape (n, dimension).
        rows: the n primary keys: a local index is searched within a row's partition.
    """

    def search(number: int) -> object:
        at = number % len(vectors)
        return store.search(table, index, vectors[at], _DEPTH, where=index.within(rows[at]))

    return search


def latency(old: Search, new: Search, *, searches: int, time_max_s: float, clients: Sequence[int] = CLIENTS) -> Latency:
    """Time searches of both tables.

    Args:
        old, new: ask either table the same question; called from several threads.
        searches: searches of each table, for each number of clients.
        time_max_s: no turn begins after this time, for each number of clients.
    """
    times = {each: _in_turns((old, new), searches, time_max_s, each) for each in clients}
    old_times, new_times = ({each: Times(found[side]) for each, found in times.items()} for side in (0, 1))
    return Latency(old_times, new_times)


def _in_turns(
    sides: tuple[Search, Search], searches: int, time_max_s: float, clients: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    taken: tuple[list[float], list[float]] = ([], [])
    with ThreadPoolExecutor(clients) as pool:
        for search in sides:
            list(pool.map(search, range(clients * _WARM_UP)))
        deadline = time.monotonic() + time_max_s
        lot = clients * _LOT if clients > 1 else 1
        for number in range(0, searches, lot):
            if time.monotonic() >= deadline:
                break
            numbers = range(number, min(number + lot, searches))
            # All clients ask the same table: if they asked both, they would queue for the slower one.
            for side in (0, 1) if number // lot % 2 == 0 else (1, 0):
                taken[side].extend(pool.map(partial(_timed_ms, sides[side]), numbers))
    old, new = (np.sort(np.array(ms, np.float64)) for ms in taken)
    return old, new


def _timed_ms(search: Search, number: int) -> float:
    started = time.perf_counter()
    search(number)
    return 1000 * (time.perf_counter() - started)
