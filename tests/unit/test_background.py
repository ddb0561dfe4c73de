"""Work that is repeated in a thread while a block runs."""

from __future__ import annotations

import threading
import time

import pytest

from embedshift.background import repeated


def _named(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == name]


def test_it_is_repeated_until_the_block_ends_and_not_after():
    done: list[int] = []
    third = threading.Event()

    def work() -> None:
        done.append(1)
        if len(done) == 3:
            third.set()

    with repeated(work, 0.01, "repeated-here", despite=OSError):
        assert third.wait(10)
    after = len(done)
    assert _named("repeated-here") == []
    time.sleep(0.05)
    assert len(done) == after


def test_an_error_that_may_pass_stops_nothing():
    again = threading.Event()
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        again.set()

    with repeated(work, 0.01, "repeated-despite", despite=OSError):
        assert again.wait(10)


def test_the_thread_ends_with_a_block_that_fails_and_does_not_wait_out_its_seconds():
    started = time.monotonic()
    with pytest.raises(KeyError), repeated(lambda: None, 3600, "repeated-fails", despite=OSError):
        raise KeyError
    assert _named("repeated-fails") == []
    assert time.monotonic() - started < 60
