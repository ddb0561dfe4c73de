"""Trials: exact answers on a pool, what few questions can show, candidates, and what is said before money is spent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import ir_measures
import numpy as np
import pytest
import yaml
from ir_measures import RR, R, nDCG

from embedshift.catalog.setup import ensure_catalog
from embedshift.cli.app import main
from embedshift.embedding import load_model
from embedshift.errors import InputError, SettingsError, UsageError
from embedshift.operations.trial import candidate
from embedshift.validation.pool import Pool, detectable, judge_pool
from embedshift.validation.questions import Question
from tests.embedding_server import EmbeddingServer, embedding_server
from tests.world import World, some_articles


def random_case(seed: int) -> tuple[Pool, np.ndarray, list[Question], np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = [f"a{n}" for n in range(60)]
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    vectors[3] = vectors[4] = 0  # never found
    questions = [
        Question(f"q{n}", "text", {str(id_): int(rng.integers(0, 4)) for id_ in rng.choice(ids, 12)} | {f"a{n}": 3})
        for n in range(20)
    ]
    return Pool(ids, np.zeros(60, bool), 1.0), vectors, questions, rng.normal(size=(20, 8)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_pool_is_judged_as_by_the_library(seed):
    pool, vectors, questions, asked = random_case(seed)
    found = judge_pool(pool, vectors, questions, asked, "cosine")
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    labels = {each.id: dict(each.relevant) for each in questions}
    runs = {}
    for number, each in enumerate(questions):
        scores = units @ asked[number]
        runs[each.id] = {id_: float(scores[at]) for at, id_ in enumerate(pool.ids) if at not in (3, 4)}
    for name, measure in (("ndcg@10", nDCG @ 10), ("recall@10", R @ 10), ("mrr@10", RR @ 10)):
        expected = {each.query_id: each.value for each in ir_measures.iter_calc([measure], labels, runs)}
        np.testing.assert_allclose(found[name], [expected[each.id] for each in questions], atol=1e-9)


def test_a_drawn_article_counts_for_those_that_were_not():
    """One of two right answers has a drawn article before it, which stands for twenty."""
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2]], np.float32)
    question = Question("q", "text", {"first": 1, "last": 1})
    asked = np.array([[1, 0]], np.float32)
    drawn = np.array([False, True, False])
    light = judge_pool(Pool(["first", "between", "last"], drawn, 1.0), vectors, [question], asked, "cosine")
    heavy = judge_pool(Pool(["first", "between", "last"], drawn, 20.0), vectors, [question], asked, "cosine")
    assert light["recall@10"][0] == 1
    assert heavy["recall@10"][0] == 0.5
    assert heavy["mrr@10"][0] == 1


def test_a_difference_that_could_be_seen_is_seen_in_eighty_of_a_hundred_trials():
    rng = np.random.default_rng(1)
    scatter, n = 0.3, 60
    least = detectable(rng.normal(0, scatter, 100_000)) * np.sqrt(100_000 / n)
    changes = rng.normal(least, scatter, (4000, n))
    errors = changes.std(axis=1, ddof=1) / np.sqrt(n)
    assert 0.77 < (changes.mean(axis=1) > 1.96 * errors).mean() < 0.83
    assert detectable(np.array([0.5])) == float("inf")
    assert detectable(np.zeros(10)) == float("inf")


@pytest.fixture
def world(new_world) -> World:
    world: World = new_world()
    world.create_source()
    world.write("articles", *world.embedded(world.old_model(), *some_articles(40)))
    return world


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server(key=None) as served:
        yield served
    load_model.cache_clear()


def state_of(world: World) -> dict[str, str]:
    """A hash of every file of the store, but for what readers of SQLite share."""
    files = [each for each in world.folder.iterdir() if each.suffix not in (".yaml", ".html", ".json")]
    kept = [each for each in files if not each.name.endswith("-shm")]
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in kept}


def run(world: World, *arguments: str) -> int:
    page = ["--output", str(world.folder / "trial.html")]
    return main(["trial", "--config", str(world.config), "--seed", "5", *page, *arguments])


def test_candidates_side_by_side_and_no_byte_of_the_store_changes(world, capfd, tmp_path):
    questions = tmp_path / "questions.jsonl"
    rows = some_articles(40)
    lines = [{"id": f"q{n}", "text": rows[n]["title"][0], "relevant": {rows[n]["id"]: 2}} for n in range(12)]
    questions.write_text("\n".join(json.dumps(each) for each in lines))
    old, new = world.settings.source.model.name, world.settings.target_model.name
    before = state_of(world)
    assert run(world, "--questions", str(questions), "--model", new, "--model", old, "--sample", "20") == 0
    assert state_of(world) == before
    out = capfd.readouterr().out
    assert "12 labelled articles and 20 drawn of about 40; 12 labelled questions; seed 5" in out
    record = json.loads((world.folder / "trial.json").read_text())
    assert [each["model"] for each in record["candidates"]] == [new, old]
    # The live model against itself: the stored vectors are those that it makes.
    itself = record["candidates"][1]
    assert itself["ndcg@10"] == pytest.approx(record["live"]["ndcg@10"])
    assert itself["verdict"] == "no difference seen"
    assert record["sample"]["weight"] == pytest.approx(28 / 20)
    page = (world.folder / "trial.html").read_text()
    assert "trial of <b>articles</b>" in page
    assert new in page
    # The same seed gives the same figures.
    assert run(world, "--questions", str(questions), "--model", new, "--sample", "20") == 0
    again = json.loads((world.folder / "trial.json").read_text())["candidates"][0]
    assert {name: again[name] for name in ("ndcg@10", "mrr@10")} == {
        name: record["candidates"][0][name] for name in ("ndcg@10", "mrr@10")
    }


def test_without_labels_titles_are_asked_and_said_to_be_weaker(world, capfd):
    assert run(world) == 0
    assert "titles as questions" in capfd.readouterr().out
    assert json.loads((world.folder / "trial.json").read_text())["questions"]["kind"] == "titles"


def test_a_service_is_paid_for_after_it_was_agreed_to(world, server, capfd, tmp_path):
    ensure_catalog(world.store)
    dear = tmp_path / "dear.yaml"
    dear.write_text(yaml.safe_dump(server.settings(key_env=None, price_per_million_tokens=1e6)))
    assert run(world, "--model", str(dear)) == 2
    said = capfd.readouterr()
    assert "the trial would cost about" in said.err
    assert f"{server.url} gets" in said.out
    assert server.asked == []
    before = state_of(world)
    assert run(world, "--model", str(dear), "--yes") == 0
    assert state_of(world) == before
    record = json.loads((world.folder / "trial.json").read_text())
    assert record["candidates"][0]["cost"] > 1
    assert record["candidates"][0]["service"] == server.url


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: [", "is not YAML"),
        ("name: a\nnam: x", "unknown key target.model.nam; did you mean name?"),
        ("target: {model: {name: a, service: {url: ftp://a}}}", "service.url: is no"),
        ("- a", "is no model"),
        ("name: a\nservice: {url: ftp://a}", "service.url: is no"),
    ],
)
def test_a_candidate_file_that_cannot_be(world, tmp_path, content, said):
    path = tmp_path / "candidate.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        candidate(world.settings, str(path))
    assert said in str(caught.value)
    with pytest.raises(SettingsError, match="cannot read"):
        candidate(world.settings, "nowhere.yml")


def test_what_cannot_be_tried(world, new_world, old_model):
    nothing = new_world((old_model, None))
    nothing.create_source(some_articles(4))
    with pytest.raises(UsageError, match="no candidate is named"):
        nothing.step("trial")
    with pytest.raises(InputError, match="no article with a text and a vector"):
        nothing.step("trial", models=[str(old_model)])
