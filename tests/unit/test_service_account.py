"""The account of a service: limits of all tasks together, money that is counted before it is spent. Invariant 4."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedshift.catalog.service_account import Account, Rates, Settlement, accounts_of, spending
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.stop import forget_stops, read_stop, tell_stop
from embedshift.catalog.throttle import ThrottleState, report_service, throttle_of
from embedshift.embedding import ServiceModel
from embedshift.errors import BudgetSpent, OwnedByAnother, ServiceRefused, ServiceUnavailable
from embedshift.settings import ModelSettings, StoreSettings
from embedshift.spark.allowance import RunAllowance
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from tests.embedding_server import embedding_server

MINUTE_US = 60_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(StoreSettings(path=tmp_path / "catalog.sqlite"))
    ensure_catalog(opened)
    yield opened
    opened.close()


def model(url: str = "http://127.0.0.1:9/v1", **service: object) -> ModelSettings:
    return ModelSettings(name="small", service={"url": url, **service})


def test_each_request_moves_the_moment_of_the_next():
    rates = Rates(requests=60, tokens=6000)
    account, first = Account().reserved(200, 0, rates, at_us=MINUTE_US)
    assert first == MINUTE_US
    # Two hundred tokens at a hundred a second are two seconds, a request is one.
    account, second = account.reserved(10, 0, rates, at_us=MINUTE_US)
    assert second == MINUTE_US + 2_000_000
    _, third = account.reserved(10, 0, rates, at_us=MINUTE_US)
    assert third == second + 1_000_000
    # What was reserved and not used comes sooner; a request that comes late waits for nobody.
    early = account.settled(Settlement(1, 200, 100), 0, rates)
    assert early.tokens_free_us == account.tokens_free_us - 1_000_000
    assert account.reserved(10, 0, rates, at_us=10 * MINUTE_US)[1] == 10 * MINUTE_US


def test_what_is_never_settled_stays_spent(store):
    allowance = RunAllowance(store, "m", "f", model(price_per_million_tokens=10.0, max_cost=1.0), "run")
    allowance.reserve(60_000)
    # The task dies here; another one begins.
    another = RunAllowance(store, "m", "f", model(price_per_million_tokens=10.0, max_cost=1.0), "run")
    with pytest.raises(BudgetSpent, match="may cost 1"):
        another.reserve(60_000)
    another.reserve(30_000)
    another.settle(30_000, 10_000)
    another.flush()
    (spent,) = spending(store, "m")
    assert (spent.tokens, spent.requests, spent.cost) == (70_000, 1, pytest.approx(0.7))
    another.reserve(30_000)


def test_a_request_without_an_answer_stays_spent(store):
    with embedding_server(key=None, wait_s=1.0) as server:
        settings = model(server.url, timeout="200ms", patience="600ms", price_per_million_tokens=1e6)
        assert settings.service is not None
        allowance = RunAllowance(store, "m", "f", settings, "run")
        asked = ServiceModel(settings, settings.service).under(allowance)
        with pytest.raises(ServiceUnavailable):
            asked.embed(["why bread rises"])
        allowance.flush()
        asked.close()
        (spent,) = spending(store, "m")
        assert spent.requests == 0
        assert spent.cost >= len(server.asked)


def test_however_many_ask_at_once_the_sum_is_right(store):
    allowances = [RunAllowance(store, "m", "f", model(price_per_million_tokens=1.0), "run") for _ in range(3)]

    def work(number: int) -> None:
        allowance = allowances[number % 3]
        allowance.reserve(100)
        allowance.settle(100, 90)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(60)))
    for each in allowances:
        each.flush()
    account = accounts_of(store, "m")["small"]
    assert (account.requests, account.tokens) == (60, 60 * 90)


def test_money_is_never_reserved_beyond_its_limit(store):
    allowances = [
        RunAllowance(store, "m", "f", model(price_per_million_tokens=1e4, max_cost=10), "run") for _ in range(4)
    ]
    refused = []

    def work(number: int) -> None:
        try:
            allowances[number % 4].reserve(100)
        except BudgetSpent:
            refused.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(30)))
    assert len(refused) == 20
    assert accounts_of(store, "m")["small"].cost == 10_000_000


def test_a_pause_holds_requests_and_the_end_of_a_run_ends_them(store):
    state, ended = [ThrottleState(wait="paused by somebody")], threading.Event()

    def now() -> ThrottleState:
        if ended.is_set():
            raise OwnedByAnother("the run is over")
        return state[0]

    allowance = RunAllowance(store, "m", "f", model(), "run", now)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(allowance.reserve, 10)
        threading.Event().wait(0.2)
        assert not waiting.done()
        state[0] = ThrottleState()
        waiting.result(5)
        state[0] = ThrottleState(wait="paused again")
        waiting = pool.submit(allowance.reserve, 10)
        ended.set()
        with pytest.raises(OwnedByAnother):
            waiting.result(5)


def test_an_operators_limit_counts_beside_that_of_the_settings(store):
    state = ThrottleState(tokens_per_minute=600)
    allowance = RunAllowance(store, "m", "f", model(tokens_per_minute=60_000), "run", lambda: state)
    allowance.reserve(1)
    account = accounts_of(store, "m")["small"]
    allowance.reserve(1)
    assert accounts_of(store, "m")["small"].tokens_free_us - account.tokens_free_us >= 100_000


def test_an_error_that_ends_a_run_is_told_and_forgotten(store):
    allowance = RunAllowance(store, "m", "f", model(), "run")
    allowance.stop(ServiceRefused("refused", hint="look"))
    with pytest.raises(ServiceRefused):
        allowance.reserve(1)
    found = read_stop(store, "m", "run")
    assert isinstance(found, ServiceRefused)
    assert str(found) == "refused: look"
    assert read_stop(store, "m", "another run") is None
    tell_stop(store, "m", "another run", BudgetSpent("spent"))
    assert isinstance(read_stop(store, "m", "another run"), BudgetSpent)
    forget_stops(store, "m")
    assert read_stop(store, "m", "run") is None


def test_why_a_service_is_slow_is_shown(new_world):
    world = new_world()
    world.create_source()
    world.step("prepare")
    allowance = RunAllowance(world.store, world.migration.id, "f", model(), "run")
    allowance.slowed("api.example.org: too many requests (429), asks to wait 20 s")
    reason = throttle_of(world.store, world.migration, world.settings.throttle)["reason"]
    assert reason == "slowed by the service: api.example.org: too many requests (429), asks to wait 20 s"
    allowance.slowed("")
    assert throttle_of(world.store, world.migration, world.settings.throttle)["reason"] is None
    report_service(world.store, world.migration.id, "still")
    assert "still" in throttle_of(world.store, world.migration, world.settings.throttle)["reason"]
