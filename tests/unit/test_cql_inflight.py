"""How many requests are in flight, and what becomes of those that are not answered at once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from cassandra import CoordinationFailure, InvalidRequest, OperationTimedOut, Unauthorized, WriteFailure, WriteTimeout
from hypothesis import given
from hypothesis import strategies as st

from embedshift.errors import SchemaError, StoreUnavailable
from embedshift.settings import StoreSettings
from embedshift.stores.cql import inflight
from embedshift.stores.cql.inflight import Window, send
from embedshift.stores.cql.read import PAGE_ROWS_MIN, PageSize
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql.wire import Page


def test_quick_answers_open_the_window_by_one_a_round():
    window = Window(64, 10)
    for _ in range(10):
        window.learn(now=0.0, took_s=0.01)
    assert 10.9 < window.size < 11.1


def test_a_slow_answer_narrows_it_once_a_round():
    window = Window(64, 40, slow_s=0.25)
    window.learn(now=1.0, took_s=0.5)
    assert window.size == pytest.approx(28)
    for _ in range(20):
        window.learn(now=1.2, took_s=0.5)
    assert window.size == pytest.approx(28)
    window.learn(now=1.6, took_s=0.5)
    assert window.size == pytest.approx(19.6)


def test_a_failure_halves_it():
    window = Window(64, 40)
    window.learn(now=1.0, took_s=0.01, failed=True)
    assert window.size == 20


@given(
    most=st.integers(1, 200),
    begin=st.floats(0, 500),
    turns=st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200),
)
def test_it_stays_between_one_and_the_most(most, begin, turns):
    window, now = Window(most, begin), 0.0
    for took_s, failed in turns:
        now += 0.05
        window.learn(now, took_s, failed=failed)
        assert 1 <= window.size <= most


class Answer:
    """A request's future that is answered on another thread, as the driver does."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def add_callbacks(self, done: Any, failed: Any, *, callback_args: Any, errback_args: Any) -> None:
        if self.outcome is None:
            return
        if isinstance(self.outcome, BaseException):
            threading.Thread(target=failed, args=(self.outcome, *errback_args)).start()
        else:
            threading.Thread(target=done, args=(self.outcome, *callback_args)).start()


class Script:
    """Answers each request as written: the outcomes of its first, second, … sending; None stays unanswered."""

    def __init__(self, outcomes: dict[str, list[Any]]) -> None:
        self.outcomes = outcomes
        self.sent: list[str] = []

    def execute_async(self, request: str, *, execution_profile: Any, timeout: None) -> Answer:
        self.sent.append(request)
        left = self.outcomes.get(request, ["rows"])
        return Answer(left.pop(0) if len(left) > 1 else left[0])


@pytest.fixture
def connection(monkeypatch):
    settings = StoreSettings(kind="cql", hosts=("h",), local_dc="dc", keyspace="ks", request_timeout="200ms")
    opened = CqlConnection(settings)
    opened.patience = timedelta(seconds=3)
    monkeypatch.setattr(inflight.time, "sleep", lambda seconds: None)

    def scripted(outcomes: dict[str, list[Any]]) -> tuple[CqlConnection, Script]:
        script = Script(outcomes)
        monkeypatch.setattr(CqlConnection, "session", script)
        return opened, script

    return scripted


def test_every_request_is_answered_before_the_call_returns(connection):
    opened, script = connection({})
    places: list[int] = []
    send(opened, [f"r{at}" for at in range(300)], "p", doing="writing", answered=lambda place, _: places.append(place))
    assert sorted(places) == list(range(300))
    assert len(script.sent) == 300


def test_what_fails_for_a_passing_reason_is_sent_again(connection):
    timed_out = WriteTimeout("slow", write_type=0)
    opened, script = connection({"b": [timed_out, OperationTimedOut(), "rows"]})
    send(opened, ["a", "b", "c"], "p", doing="writing")
    assert sorted(script.sent) == ["a", "b", "b", "b", "c"]


def test_what_is_never_answered_is_sent_again_and_a_late_answer_is_ignored(connection):
    opened, script = connection({"mute": [None, "rows"]})
    send(opened, ["a", "mute"], "p", doing="writing")
    assert script.sent == ["a", "mute", "mute"]


def test_patience_has_an_end(connection):
    opened, _ = connection({"mute": [OperationTimedOut()]})
    opened.patience = timedelta(seconds=0)
    with pytest.raises(StoreUnavailable, match=r"writing articles: 1 of 2 requests unanswered"):
        send(opened, ["a", "mute"], "p", doing="writing articles")


def test_a_refused_row_is_handed_back_and_the_others_go_on(connection):
    opened, script = connection({"bad": [InvalidRequest('code=2200 [Invalid query] message="too large"')]})
    refused: dict[int, str] = {}
    send(opened, ["a", "bad", "c"], "p", doing="writing", refused=refused.__setitem__)
    assert refused == {1: "too large"}
    assert sorted(script.sent) == ["a", "bad", "c"]


def test_a_refusal_without_a_handler_is_an_error(connection):
    opened, _ = connection({"bad": [InvalidRequest('message="too large"')]})
    with pytest.raises(SchemaError, match="too large"):
        send(opened, ["bad"], "p", doing="writing")


def test_a_table_that_is_gone_is_no_fault_of_a_row(connection):
    opened, _ = connection({"bad": [InvalidRequest('message="table articles does not exist"')]})
    with pytest.raises(SchemaError, match="does not exist"):
        send(opened, ["bad"], "p", doing="writing", refused=lambda place, why: None)


def test_a_missing_permission_ends_the_pass(connection):
    opened, script = connection({"r0": [Unauthorized('message="User reader has no MODIFY permission"')]})
    opened.window = 1
    with pytest.raises(StoreUnavailable, match="does not permit writing"):
        send(opened, [f"r{at}" for at in range(100)], "p", doing="writing")
    assert len(script.sent) < 100


def test_a_row_at_which_the_replicas_fail_alone_is_refused(connection):
    opened, script = connection({"bad": [WriteFailure("failed", write_type=0)]})
    refused: dict[int, str] = {}
    send(opened, ["a", "bad", "c"], "p", doing="writing", refused=refused.__setitem__)
    assert list(refused) == [1]
    assert script.sent.count("bad") == inflight.FAILURES


def test_replicas_that_fail_at_every_row_are_unavailable(connection):
    opened, _ = connection({"a": [CoordinationFailure("failed")], "b": [CoordinationFailure("failed")]})
    opened.patience = timedelta(milliseconds=50)
    with pytest.raises(StoreUnavailable, match="2 of 2"):
        send(opened, ["a", "b"], "p", doing="writing", refused=lambda place, why: None)


def test_a_suspect_row_is_refused_at_the_first_failure(connection):
    opened, script = connection({"zeros": [WriteFailure("failed", write_type=0)]})
    refused: dict[int, str] = {}
    send(opened, ["zeros"], "p", doing="w", refused=refused.__setitem__, suspect=lambda place: "a vector of zeros")
    assert refused == {0: "a vector of zeros"}
    assert script.sent == ["zeros"]


def test_pages_grow_to_their_size_and_shrink_after_failures():
    size = PageSize(rows_max=10_000)
    size.grown(Page(b"x" * 100_000, 0, 500, 3))
    assert size.rows == 400
    size.grown(Page(b"x" * (4 << 20), 0, 1000, 3))
    assert size.rows == 250
    for _ in range(20):
        size.halved()
    assert size.rows == PAGE_ROWS_MIN


@given(st.integers(1, 100_000), st.lists(st.booleans(), max_size=40), st.integers(1, 5000))
def test_a_page_is_never_larger_than_a_batch(rows_max, failures, row_bytes):
    size = PageSize(rows_max)
    for failed in failures:
        if failed:
            size.halved()
        else:
            size.grown(Page(b"x" * min(size.rows * row_bytes, 1 << 22), 0, size.rows, 1))
        assert 1 <= size.rows <= rows_max
