"""A migration to a model behind HTTP: its vectors, its limits, its price, and the proof of which model answers.

Invariants 4, 9, 10, 11.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedshift import Articles
from embedshift.catalog.service_account import spending
from embedshift.catalog.tables import SERVICE_MODEL
from embedshift.cli.app import main
from embedshift.embedding import load_model
from embedshift.errors import BudgetSpent, CheckFailed, ModelChanged, ServiceRefused
from tests.embedding_server import KEY, Asked, EmbeddingServer, Reply, embedding_server, vector_of
from tests.world import World, now_us, some_articles

#: A word of every text, which nobody may see.
MARKER = "TEXTMARKER-5512"
NewWorld = Callable[..., World]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server(key=None) as served:
        yield served
    load_model.cache_clear()


def world_of(new_world: NewWorld, server: EmbeddingServer, old_model: Path, rows: int = 60, **changes: Any) -> World:
    """A world from a small model to the service's, whose source has some rows."""
    service = {"key_env": None, "batch_texts": 8, "concurrency": 2, **changes.pop("service", {})}
    load = {"window_rows": 16, "ranges": 4, **changes.pop("load", {})}
    world = new_world((old_model, "small"), load=load, target={"model": server.settings(**service)}, **changes)
    world.create_source(
        [{**row, "title": (f"{MARKER} {row['title'][0]}", row["title"][1])} for row in some_articles(rows)]
    )
    return world


def assert_of(world: World, server: EmbeddingServer, seed: int, table: str = "articles_v2") -> int:
    """Every vector of a table is that of its text, by the model of that seed. Returns their number."""
    found = 0
    for key, cells in world.read(table).items():
        text = world.text(key, cells)
        if text is not None and "embedding" in cells:
            expected = vector_of(text, seed, server.dimension)
            np.testing.assert_allclose(cells["embedding"][0], expected / np.linalg.norm(expected), atol=1e-5)
            found += 1
    return found


def spent(world: World) -> dict[str, Any]:
    (found,) = spending(world.store, world.migration.id)
    return asdict(found)


def after(requests: int, then: Callable[[Asked], Reply | None]) -> Callable[[Asked], Reply | None]:
    """Behave so after a number of further requests."""
    left, lock = [requests], threading.Lock()

    def behave(asked: Asked) -> Reply | None:
        with lock:
            left[0] -= 1
        return then(asked) if left[0] < 0 else None

    return behave


def typed(world: World, capfd: pytest.CaptureFixture[str], *command: str) -> str:
    """What a command prints."""
    capfd.readouterr()
    assert main([*command, "--config", str(world.config)]) == 0
    return capfd.readouterr().out


def test_the_whole_way_to_a_service_and_back(new_world, server, old_model, spark):
    world = world_of(new_world, server, old_model, service={"price_per_million_tokens": 2.0})
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    assert assert_of(world, server, seed=1) == 60
    found = spent(world)
    # Whoever opened the model for a moment, and every step, is in the account: what the service counted.
    assert found["tokens"] == server.tokens
    assert found["requests"] == len(server.asked)
    assert found["cost"] == pytest.approx(server.tokens * 2e-6, rel=1e-3)
    assert world.step("status")["migration"]["services"] == [found]
    assert world.step("report")  # it has the same figures
    assert f"{found['tokens']:,}" in next(world.folder.glob("*.html")).read_text()
    with Articles.open(world.settings) as articles:
        articles.add({"id": "new", "title": "Bread", "content": "why bread rises"})
        assert articles.search("bread. why bread rises", 1)[0].id == "new"
    world.step("rollback")
    assert world.alias.target.table == "articles"
    assert "new" in {key for (key,) in world.read("articles")}


def test_no_text_and_no_key_is_anywhere(new_world, server, old_model, tmp_path, capfd):
    """Neither in what a command prints, nor in log, event log, report or catalog."""
    server.key = KEY
    echo = {"error": {"message": f"bad text {MARKER} for {KEY}", "code": "bad_text"}}
    server.behaviour = lambda asked: Reply(400, echo) if any("number 7" in text for text in asked.texts) else None
    world = world_of(
        new_world,
        server,
        old_model,
        rows=20,
        service={"key_env": "TEST_SERVICE_KEY"},
        load={"tolerate_dead": 3},
        log={"level": "debug"},
        spark={"conf": {"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(tmp_path / "events")}},
    )
    (tmp_path / "events").mkdir()
    world.write("articles", {"id": "bad", "title": (f"{MARKER} number 7", now_us())})
    done = world.command("migrate", "--until", "validate", environment={"TEST_SERVICE_KEY": KEY})
    said = done.stdout + done.stderr
    assert "dead" in said
    done = world.command("load", environment={"TEST_SERVICE_KEY": "sk-another"})
    said += done.stdout + done.stderr + typed(world, capfd, "status")
    assert MARKER not in said
    assert KEY not in said
    files = [each for each in [*tmp_path.rglob("*"), *world.folder.rglob("*")] if each.is_file()]
    assert any(each.parent.parent.name == "events" or each.parent.name == "events" for each in files)
    for each in files:
        content = each.read_bytes()
        assert KEY.encode() not in content, each
        if each.suffix not in (".sqlite", ".sqlite-wal", ".usearch"):
            assert MARKER.encode() not in content, each
    assert "the service refused it: HTTP 400: bad_text" in typed(world, capfd, "dead-letters", "list")


def test_a_refused_key_stops_the_run_at_once(new_world, server, old_model, spark):
    world = world_of(new_world, server, old_model, rows=200, load={"ranges": 16})
    world.step("prepare")
    asked = len(server.asked)
    server.behaviour = lambda asked: Reply(401)
    with pytest.raises(ServiceRefused, match="refuses the key"):
        world.step("load")
    # Two tasks, each with the requests that it had in flight.
    assert len(server.asked) - asked <= 2 * 3
    assert world.read("articles_v2") == {}
    server.behaviour = lambda asked: None
    assert world.step("load")["rows"] == 200
    assert assert_of(world, server, seed=1) == 200


def test_a_provider_that_changes_its_model_in_the_middle_is_caught(new_world, server, old_model, spark):
    """A rolling deployment: from some request on, every second answer is another model's."""
    world = world_of(new_world, server, old_model, rows=300, load={"ranges": 8})
    world.step("prepare")
    flips = [0]

    def rolling(asked: Asked) -> Reply:
        flips[0] += 1
        seed = 1 + flips[0] % 2
        vectors = [vector_of(text, seed, server.dimension) for text in asked.texts]
        return Reply(200, server.body(vectors, asked))

    server.behaviour = after(15, rolling)
    with pytest.raises(ModelChanged, match="another model than the recorded small"):
        world.step("load")
    written = assert_of(world, server, seed=1)
    assert 0 < written < 300
    # As long as it is another one, nobody gets further.
    server.behaviour, server.seed = (lambda asked: None), 2
    for step in ("load", "audit"):
        with pytest.raises(ModelChanged) if step == "load" else pytest.raises(CheckFailed):
            world.step(step)
    assert assert_of(world, server, seed=1) == written
    server.seed = 1
    world.step("load")
    assert assert_of(world, server, seed=1) == 300


def test_a_changed_model_is_caught_by_validation_audit_and_clients(new_world, server, old_model, spark):
    world = world_of(new_world, server, old_model, rows=20)
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    server.seed = 2
    with pytest.raises(ModelChanged):
        world.step("audit")
    with pytest.raises(ModelChanged):
        world.step("validate") if world.migration.state != "switched" else world.step("audit")
    with Articles.open(world.settings) as articles:
        with pytest.raises(ModelChanged):
            articles.search("bread", 1)
        with pytest.raises(ModelChanged):
            articles.add({"id": "new", "title": "Bread"})
    assert ("new",) not in world.read("articles_v2")


def test_the_price_stops_a_run_and_the_next_one_and_a_higher_one_lets_it_go_on(new_world, server, old_model, spark):
    world = world_of(new_world, server, old_model, rows=300, service={"price_per_million_tokens": 1e4, "max_cost": 1e3})
    world.step("prepare")
    begun = spent(world)["cost"]
    most = begun + 80.0
    # The dearest request so far was of eight texts at most.
    request = 8 * 100 * 1e-2
    world.with_settings(target={"model": {"service": {"max_cost": most}}})
    with pytest.raises(BudgetSpent, match="may cost"):
        world.step("load")
    assert most - 2 * 2 * request - request <= spent(world)["cost"] <= most + request
    asked, written = len(server.asked), assert_of(world, server, seed=1)
    assert 0 < written < 300
    with pytest.raises(BudgetSpent):
        world.step("load")
    assert len(server.asked) - asked <= 2
    world.with_settings(target={"model": {"service": {"max_cost": 1e3}}})
    world.step("load")
    assert assert_of(world, server, seed=1) == 300
    # What was written before was not paid for again.
    assert sum(len(each.texts) for each in server.asked) < 300 + 2 * 2 * 8 + 2 * len(server.asked) + 64


@pytest.mark.parametrize("tasks", [1, 4])
def test_a_limit_of_tokens_holds_for_all_tasks_together(new_world, server, old_model, spark, tasks):
    rate = 60_000.0
    world = world_of(
        new_world,
        server,
        old_model,
        rows=100,
        load={"ranges": tasks},
        service={"tokens_per_minute": rate, "concurrency": 4},
    )
    world.step("prepare")
    server.asked.clear()
    world.step("load")
    begun = min(each.at_s for each in server.asked)
    last = max(server.asked, key=lambda each: each.at_s)
    # The last request begins when those before it are paid for.
    allowed = rate / 60 * (last.at_s - begun)
    before = server.tokens - last.tokens
    assert before > 2000
    assert before <= 1.05 * allowed + 50


def test_a_killed_run_pays_again_for_what_was_in_flight_only(new_world, server, old_model, spark, eventually):
    world = world_of(new_world, server, old_model, rows=200, load={"ranges": 2})
    server.wait_s = 0.05
    world.step("prepare")
    run = world.start("load")
    try:
        eventually(lambda: len(world.read("articles_v2")) >= 50)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    time.sleep(0.5)
    there, asked = len(world.read("articles_v2")), len(server.asked)
    world.step("load")
    assert assert_of(world, server, seed=1) == 200
    texts = sum(len(each.texts) - 1 for each in server.asked[asked:])
    # Each of two tasks had two windows of sixteen under way, at most.
    assert texts <= 200 - there + 20


def test_a_gateway_with_another_name_needs_no_new_vectors(new_world, server, old_model, spark):
    world = world_of(new_world, server, old_model, rows=20)
    world.steps("prepare", "load", "sync", "index", "sync", "validate")
    with embedding_server(key=None, model="gateway/small") as gateway:
        # In the middle of a migration the settings may name another address, and another name.
        world.with_settings(target={"model": gateway.settings(key_env=None)})
        world.steps("validate", "cutover")
        with Articles.open(world.settings) as articles:
            assert articles.search("bread", 1)
        before = len(gateway.asked)
        settings = {"source": {"table": "articles_v2", "model": server.settings(key_env=None)}}
        world.with_settings(**settings, target={"table": "articles_v3", "model": gateway.settings(key_env=None)})
        world.steps("prepare", "load")
        assert world.migration.copies_vectors
        assert len(gateway.asked) - before <= 40
    assert assert_of(world, server, seed=1, table="articles_v3") == 20


def test_limits_can_be_set_while_it_runs_and_are_shown(new_world, server, old_model, capfd):
    world = world_of(new_world, server, old_model, rows=4)
    world.step("prepare")
    typed(world, capfd, "throttle", "--tokens-per-minute", "1000", "--requests-per-minute", "60")
    shown = typed(world, capfd, "status")
    assert "at most 1,000 tokens/min to the service" in shown
    assert "at most 60 requests/min to the service" in shown


def test_what_it_costs_is_said_before_it_is_asked(new_world, server, old_model, capfd):
    world = world_of(new_world, server, old_model, rows=50, service={"price_per_million_tokens": 2e3, "max_cost": 0.01})
    first, second = typed(world, capfd, "prepare", "--dry-run").splitlines()[:2]
    assert first == f"small is embedded by {server.url}: it gets the texts of all rows (title, content)"
    assert second.startswith("about ")
    assert "for 50 texts, at 4 bytes a token, for the rows alone; cost about" in second
    assert "the migration stops at 0.01 BEFORE IT IS DONE" in second
    assert "service   about " in typed(world, capfd, "plan", "--replicas", "1")
    # A dry run has asked for a text, and recorded nothing.
    assert not world.store.records.has(SERVICE_MODEL)
