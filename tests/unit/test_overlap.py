"""Stages that overlap: one window each, in order, and no thread outlives its block."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from embedshift.spark.overlap import ahead, behind


def threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("embedshift-")}


def test_the_next_item_is_made_while_the_caller_works_on_one():
    second_made, first_left = threading.Event(), threading.Event()

    def items() -> Generator[int]:
        yield 1
        second_made.set()
        yield 2
        assert first_left.is_set(), "two items ahead"
        yield 3

    with ahead(items()) as coming:
        assert next(coming) == 1
        assert second_made.wait(10)
        time.sleep(0.05)
        first_left.set()
        assert list(coming) == [2, 3]
    assert threads() == set()


def test_an_item_is_worked_on_while_the_caller_makes_the_next_one_and_never_two():
    free, done = threading.Event(), []
    handed: list[int] = []

    def work(item: int) -> None:
        assert free.wait(10)
        done.append(item)

    def free_later() -> None:
        time.sleep(0.1)
        assert handed == [1]
        free.set()

    with behind(work) as hand_over:
        hand_over(1)
        handed.append(1)
        assert done == []
        later = threading.Thread(target=free_later)
        later.start()
        hand_over(2)
        assert done[0] == 1
        later.join()
    assert done == [1, 2]
    assert threads() == set()


def test_three_stages_hold_three_windows_at_most():
    under_way, most, lock = 0, 0, threading.Lock()

    def count(change: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += change
            most = max(most, under_way)

    def windows() -> Generator[int]:
        for number in range(20):
            count(1)
            time.sleep(0.001)
            yield number

    def write(number: int) -> None:
        time.sleep(0.004)
        count(-1)

    with ahead(windows()) as read, behind(write) as write_behind:
        for each in read:
            time.sleep(0.002)
            write_behind(each)
    assert under_way == 0
    assert most == 3


def test_an_error_of_the_reading_comes_in_its_place_and_the_generator_ends():
    ended = []

    def items() -> Generator[int]:
        try:
            yield 1
            raise ValueError("no page")
        finally:
            ended.append(True)

    found: list[int] = []

    def take() -> None:
        with ahead(items()) as coming:
            found.extend(coming)

    with pytest.raises(ValueError, match="no page"):
        take()
    assert (found, ended) == ([1], [True])
    assert threads() == set()


def test_after_an_error_of_the_writing_nothing_is_written_and_the_reading_ends():
    written, closed = [], []

    def items() -> Generator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    def write(item: int) -> None:
        if item == 1:
            raise ValueError("no disk")
        written.append(item)

    def carry() -> None:
        with ahead(items()) as coming, behind(write) as hand_over:
            for each in coming:
                hand_over(each)

    with pytest.raises(ValueError, match="no disk"):
        carry()
    assert written == [0]
    assert closed == [True]
    assert threads() == set()


def test_an_error_of_the_last_writing_is_not_lost():
    def write(item: int) -> None:
        raise ValueError(f"no disk for {item}")

    with pytest.raises(ValueError, match="no disk for 1"), behind(write) as hand_over:
        hand_over(1)


def test_when_the_caller_fails_what_is_under_way_ends_first():
    ended = threading.Event()

    def write(item: int) -> None:
        time.sleep(0.1)
        ended.set()

    def fail() -> None:
        with behind(write) as hand_over:
            hand_over(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ended.is_set()
    assert threads() == set()
