"""A real embedding server: Infinity with MiniLM, behind the same protocol as every hosted one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from embedshift import Articles
from embedshift.operations.import_file import import_articles
from scripts.embedding_server import MODEL, InfinityServer, ServerUnavailable
from tests.measures import REFERENCE
from tests.world import World, some_articles

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def infinity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfinityServer]:
    server = InfinityServer(tmp_path_factory.mktemp("infinity"))
    try:
        server.start()
    except ServerUnavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()
    assert not server.answers()


def service(infinity: InfinityServer, **changes: object) -> dict[str, object]:
    return {"name": MODEL, "service": {"url": infinity.url, **changes}}


def test_vectors_are_those_of_the_library(infinity, new_world, old_model, spark):
    world = new_world((old_model, MODEL), target={"model": service(infinity)})
    world.create_source(some_articles(30))
    world.steps("prepare", "load")
    contents = world.read("articles_v2")
    texts = {key: world.text(key, cells) for key, cells in contents.items()}
    told = {key: text for key, text in texts.items() if text is not None}
    stored = np.array([contents[key]["embedding"][0] for key in told], np.float32)
    expected = world.encode("package:all-MiniLM-L6-v2", list(told.values()))
    assert (stored * expected).sum(axis=1).min() > 0.9999


def test_cranfield_by_way_of_a_service_killed_in_the_middle(infinity, new_world, cranfield, eventually):
    """The figures are those of a model that is loaded here."""
    world: World = new_world(
        ("package:wordllama-l2-256", MODEL),
        target={"model": service(infinity, batch_texts=32, concurrency=4)},
        validation={"questions": str(cranfield / "queries.jsonl")},
        load={"ranges": 8, "window_rows": 64},
    )
    imported = import_articles(world.settings, world.store, cranfield / "articles.jsonl")
    world.step("prepare")
    run = world.start("load")
    try:
        eventually(lambda: world.store.estimate("articles_v2").rows > 100)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    there = world.store.estimate("articles_v2").rows
    assert there < imported.rows
    done = world.command("migrate")
    assert done.returncode == 0, done.stderr
    validation = world.step("report") and _record(world)
    assert validation["passed"]
    for name, value in REFERENCE["new"].items():
        assert validation["relevance"]["new"][name] == pytest.approx(value, abs=0.005)
        assert validation["relevance"]["old"][name] == pytest.approx(REFERENCE["old"][name], abs=0.005)
    assert validation["counts"]["target_rows"] == imported.rows
    with Articles.open(world.settings) as articles:
        assert len(articles.search("heat transfer at the nose of a blunt body", 5)) == 5


def _record(world: World) -> dict[str, object]:
    import json

    found: dict[str, object] = json.loads((world.folder / "validation.json").read_text())
    return found
