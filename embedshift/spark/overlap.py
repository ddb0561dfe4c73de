"""Stages of a range that overlap: reading runs one window ahead, writing one window behind, each in a thread.

A stage has one window at a time, so at most three are in memory. The threads end with their block, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def ahead(items: Generator[Item]) -> Iterator[Iterator[Item]]:
    """The items, the next one of which is made while the caller works on one. An error is raised in its place."""

    def one() -> list[Item]:
        return list(islice(items, 1))

    def taken() -> Iterator[Item]:
        coming = thread.submit(one)
        while found := coming.result():
            coming = thread.submit(one)
            yield found.pop()  # kept nowhere else, so that its memory is free as soon as the caller is done with it

    try:
        with ThreadPoolExecutor(1, "embedshift-read") as thread:
            yield taken()
    finally:
        items.close()


@contextmanager
def behind(work: Callable[[Item], None]) -> Iterator[Callable[[Item], None]]:
    """Hands items over to be worked on while the caller makes the next one; waits until the item before is done.

    Once the caller has failed, or the work has, no other item is worked on.
    """
    with ThreadPoolExecutor(1, "embedshift-write") as thread:
        under_way: Future[None] | None = None

        def hand_over(item: Item) -> None:
            nonlocal under_way
            if under_way is not None:
                under_way.result()
            under_way = thread.submit(work, item)

        yield hand_over
        if under_way is not None:
            under_way.result()
