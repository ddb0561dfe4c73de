"""What stands beside completeness and recall: lengths, overlap, latency, space, the picture, and their checks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from embedshift.embedding import load_model
from embedshift.errors import InputError
from embedshift.settings import IndexSettings, ModelSettings, StoreSettings, ValidationSettings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.stores.cql.cassandra import size_of
from embedshift.stores.cql.scylla import Scylla
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Hit, Index, Table, write_time
from embedshift.validation.checks import Allowed, Check, checks
from embedshift.validation.exact_knn import Nearest
from embedshift.validation.latency import Latency, Times, latency
from embedshift.validation.overlap import Mean, mean_of, overlap, rank_biased_overlap
from embedshift.validation.questions import Question
from embedshift.validation.recall import Recall, measured_recall
from embedshift.validation.relevance import compare
from embedshift.validation.sample import Sample, principal
from embedshift.validation.survey_result import Survey
from embedshift.validation.table_pair import Subject
from embedshift.validation.truncation import Lengths, cut_by, lengths_of
from embedshift.validation.unlabelled import Unlabelled


def test_texts_longer_than_the_model_reads_are_counted_with_their_denominator() -> None:
    found = lengths_of(np.array([3, 256, 257, 900]), 256, cut=5, of=10)

    assert (found.cut, found.of, found.share, found.sampled) == (5, 10, 0.5, True)
    assert sum(found.counts) == 4
    assert len(found.edges) == len(found.counts) + 1
    assert found.edges[0] == 0
    assert found.edges[-1] >= 900


def test_a_model_without_a_limit_cuts_nothing_and_an_empty_table_has_no_share() -> None:
    assert lengths_of(np.array([9000]), None, cut=0, of=1).share == 0
    empty = lengths_of(np.empty(0, np.int64), 256, cut=0, of=0)
    assert (empty.share, empty.of, empty.sampled) == (0.0, 0, False)


@pytest.mark.parametrize("prompt", ["", "passage: ", "¿qué? "])
def test_every_text_that_the_model_cuts_is_counted_whatever_its_characters(prompt: str) -> None:
    settings = ModelSettings(name="package:all-MiniLM-L6-v2", max_length=32, document_prompt=prompt)
    model = load_model(settings)
    random = np.random.default_rng(1)
    words = ["salt", "a", "photosynthesis", "naïve", "🧂", "ﷺ", "漢字", "x1y2", "-", "\u200f"]
    texts = [" ".join(random.choice(words, random.integers(0, 40))) for _ in range(400)] + ["a" * 500, "short", ""]
    tokens = model.count_tokens([prompt + text for text in texts])

    count = cut_by(model)

    assert count is not None
    assert 100 < count(pa.array(texts)) == (tokens > 32).sum() < 400


def test_of_a_model_that_reads_all_no_text_is_counted() -> None:
    assert cut_by(load_model(ModelSettings(name="package:wordllama-l2-256"))) is None


def sample_of(lengths: list[int]) -> Sample:
    column = Column("embedding", vector_type(2))
    table = Table("articles", (Column("id", "text", "partition"), Column("title", "text"), column))
    subject = Subject(table, table, "{title}", "embedding", "embedding", "f", 2, True, "cosine", False)
    ids = [f"a{at}" for at in range(len(lengths))]
    vectors = pa.array([[1.0, 0.0]] * len(ids), pa.list_(pa.float32(), 2))
    rows = pa.RecordBatch.from_pydict({"id": ids, "title": ids, "embedding": vectors})
    return Sample(subject, rows, np.array(lengths))


def test_probes_have_short_and_long_texts_in_the_same_share_as_the_table() -> None:
    lengths = np.random.default_rng(1).integers(1, 1000, 500).tolist()

    probes = sample_of(lengths).of_all_lengths(20, seed=1)

    assert len(set(probes.keys())) == 20
    edges = np.quantile(lengths, np.arange(21) / 20)
    held, _ = np.histogram(probes.lengths, edges)
    assert held.max() <= 2, "no quantile is left out by much"
    assert abs(probes.lengths.mean() - np.mean(lengths)) < 30


def test_every_article_is_as_likely_to_be_a_probe() -> None:
    sample = sample_of(list(range(40)))
    drawn = np.zeros(40)
    for seed in range(400):
        drawn[sample.of_all_lengths(10, seed).lengths] += 1

    assert drawn.sum() == 4000
    assert 60 < drawn.min() <= drawn.max() < 140


def test_the_overlap_of_rankings() -> None:
    assert overlap(["a", "b", "c"], ["c", "x", "y"], 10) == pytest.approx(1 / 3)
    assert overlap(["a"], ["a", "b"], 1) == 1
    assert overlap([], [], 10) == 1
    assert overlap(["a"], [], 10) == 0


def test_rank_biased_overlap_is_that_of_its_definition() -> None:
    same = [str(at) for at in range(10)]

    assert rank_biased_overlap(same, same) == pytest.approx(1)
    assert rank_biased_overlap(same, [f"x{at}" for at in range(10)]) == 0
    # By hand, p = 0.9: agreement 0 at rank 1, 1 at rank 2: 0.81 + 0.1 / 0.9 × 0.81.
    assert rank_biased_overlap(["a", "b"], ["b", "a"]) == pytest.approx(0.9)
    assert rank_biased_overlap(["a", "b", "c"], ["a", "c", "b"]) > rank_biased_overlap(["a", "b", "c"], ["b", "a", "c"])
    assert (rank_biased_overlap([], []), rank_biased_overlap([], ["a"])) == (1, 0)


def test_a_mean_lies_within_its_interval_which_narrows_with_more_values() -> None:
    drawn = np.random.default_rng(2).random(400)

    few, many = (mean_of(drawn[:n].tolist(), seed=1, confidence=0.95, resamples=2000) for n in (40, 400))

    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert np.isnan(mean_of([], seed=1, confidence=0.95).mean)


def test_searches_of_both_tables_come_in_turns_and_those_of_the_warm_up_do_not_count() -> None:
    asked: list[str] = []

    found = latency(
        lambda _: asked.append("old"), lambda _: asked.append("new"), searches=6, time_max_s=60, clients=[1]
    )

    counted = asked[6:]
    assert counted == ["old", "new", "new", "old"] * 3
    assert len(found.old[1].ms) == len(found.new[1].ms) == 6
    assert len(found.tree()["old"]["1"]["quantiles_ms"]) == 101


def test_several_clients_ask_at_the_same_time() -> None:
    together = threading.Barrier(8, timeout=60)

    found = latency(lambda _: together.wait(), lambda _: together.wait(), searches=16, time_max_s=60, clients=[8])

    assert len(found.new[8].ms) == 16


def test_no_search_is_timed_after_the_time_is_up() -> None:
    found = latency(lambda _: None, lambda _: None, searches=10, time_max_s=0, clients=[1])

    assert found.tree()["new"]["1"]["searches"] == 0
    assert np.isnan(found.ratios()[1])


def test_the_picture_is_that_of_the_principal_components() -> None:
    random = np.random.default_rng(3)
    flat = random.standard_normal((60, 2)) * [5, 2]
    axes = np.linalg.qr(random.standard_normal((16, 16)))[0][:, :2]
    vectors = (flat @ axes.T + 7).astype(np.float32)

    points, share = principal(vectors)

    assert share == pytest.approx(1, abs=1e-6)
    variances = np.linalg.eigvalsh(np.cov(vectors.T))[::-1][:2]
    assert np.allclose(points.var(axis=0, ddof=1), variances, rtol=1e-4)
    assert np.array_equal(principal(vectors)[0], points)


@pytest.mark.parametrize("vectors", [np.ones((5, 4)), np.ones((1, 4))], ids=["all alike", "one"])
def test_vectors_that_do_not_differ_are_one_point(vectors: Any) -> None:
    points, share = principal(vectors.astype(np.float32))

    assert np.allclose(points, 0)
    assert share == 0


def filled(folder: Path, rows: int, **options: Any) -> tuple[Store, Index, NDArray[np.float32]]:
    """A table of vectors, and the index that it might have."""
    store = open_store(StoreSettings(kind="embedded", path=folder / "articles.sqlite"))
    table = Table("articles", (Column("id", "text", "partition"), Column("embedding", vector_type(64))))
    store.create(table)
    vectors = np.random.default_rng(1).standard_normal((rows, 64)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 64)
    ids = [str(at) for at in range(rows)]
    store.write(
        table, pa.RecordBatch.from_pydict({"id": ids, "embedding": column, write_time("embedding"): [1] * rows})
    )
    return store, Index("articles_ann", "articles", "embedding", 64, IndexSettings(**options)), vectors


@pytest.mark.parametrize(("quantization", "connections"), [(None, 16), ("f16", 32), ("i8", 2)])
def test_the_embedded_index_is_as_large_as_was_said(quantization: Any, connections: int, tmp_path: Path) -> None:
    store, index, _ = filled(tmp_path, 1500, connections=connections, quantization=quantization)

    said = store.index_size(index, 1500)
    store.create_index(index)
    taken = store.index_size(index, 1500)

    store.close()
    assert (said.measured, taken.measured) == (False, True)
    assert said.bytes == pytest.approx(taken.bytes, rel=0.01)


@pytest.mark.parametrize(
    ("dimension", "rows", "connections", "measured"),
    # What the files of Cassandra 5.0.5 took, read from system_views.sai_sstable_indexes.
    [(64, 3000, 16, 1_410_603), (64, 3000, 32, 1_794_603), (384, 1500, 16, 3_229_483)],
)
def test_the_formula_for_cassandra_meets_what_was_measured(
    dimension: int, rows: int, connections: int, measured: int
) -> None:
    index = Index("i", "t", "embedding", dimension, IndexSettings(connections=connections))

    assert size_of(index, rows) == pytest.approx(measured, rel=0.002)


def test_the_formula_for_scylladb_is_that_of_its_sizing_page() -> None:
    def size(**options: Any) -> int:
        index = Index("i", "t", "embedding", 768, IndexSettings(**options))
        return Scylla("2026.1").index_size(None, index, 1_000_000).bytes  # type: ignore[arg-type]  # not asked

    assert size() == round(1_000_000 * (768 * 4 + 16 * 16) * 1.2)
    assert size(quantization="i8", connections=32) == round(1_000_000 * (768 + 32 * 16) * 1.2)
    assert size(quantization="b1") == round(1_000_000 * (96 + 16 * 16) * 1.2)


class Shallow:
    """The real store, with the limit that a server's guardrail may set."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def search(self, table: Table, index: Index, query: Any, k: int, **choices: Any) -> list[Hit]:
        if k > 50:
            raise InputError(f"a search gives 1 to 50 results, not {k}", hint="ask for fewer")
        return self._store.search(table, index, query, k, **choices)


def test_a_depth_that_the_store_refuses_is_not_measured_and_the_reason_is_told(tmp_path: Path) -> None:
    store, index, vectors = filled(tmp_path, 200)
    table = store.describe("articles")
    subject = Subject(table, table, "{id}", "embedding", "embedding", "f", 64, True, "cosine", False)
    nearest = Nearest("cosine", vectors[:5], 101)
    nearest.update(vectors, [str(at).encode() for at in range(200)])
    store.create_index(index)

    own: list[bytes | None] = [str(at).encode() for at in range(5)]
    ten, hundred = (
        measured_recall(Shallow(store), subject, index, nearest, k, own=own, confidence=0.95)  # type: ignore[arg-type]  # all else is the real store's
        for k in (10, 100)
    )

    store.close()
    assert ten.probes == 5
    assert ten.value > 0.8
    assert np.isnan(hundred.value)
    assert (hundred.probes, hundred.note) == (0, "a search gives 1 to 50 results, not 101")


GOOD = Recall(10, 0.99, 0.98, 0.995, 200)
SURVEY = Survey(
    Nearest("cosine", np.empty((0, 4), np.float32), 10), source_rows=99, target_rows=99, with_text=99, vectors=99
)


def made(name: str, *, relevance: Any = None, **given: Any) -> Check | None:
    """The check of that name, None where it was not made."""
    evidence = {key: given.pop(key) for key in ("lengths", "unlabelled", "latency") if key in given}
    found = checks(
        SURVEY, GOOD, relevance, ValidationSettings(**given), 0, Allowed(0, 0, True), index_rows=99, **evidence
    )
    return next((check for check in found if check.name == name), None)


def passed(name: str, **given: Any) -> bool | None:
    check = made(name, **given)
    assert check is not None
    return check.passed


def test_truncation_is_said_and_refused_only_beyond_a_limit() -> None:
    lengths = Lengths((0, 100), (40,), 50, 10, 40, sampled=False)

    assert passed("truncated", lengths=lengths)
    assert passed("truncated", lengths=lengths, truncated=0.25)
    assert not passed("truncated", lengths=lengths, truncated=0.2)


def weak(share: float) -> Unlabelled:
    questions = [Question(str(at), "t", {"a": 1}) for at in range(100)]
    good = {question.id: ["a"] for question in questions}
    lost = round(100 * (1 - share))
    titles = compare(questions, good, {**good, **{str(at): ["x"] for at in range(lost)}})
    near = Mean(share, share - 0.05, min(1.0, share + 0.05))
    return Unlabelled("titles", 100, titles, near, near, {"old": 1.0, "new": share}, 100)


LIMITS = {"overlap_at_10": 0.5, "self_retrieval": 0.9, "titles_drop": 0.1}


def test_evidence_without_labels_refuses_nothing_unless_a_limit_is_set() -> None:
    names = ("overlap_at_10", "self_retrieval", "titles_ndcg_at_10")

    assert all(made(name, unlabelled=weak(0.1)) is None for name in names)
    assert all(passed(name, unlabelled=weak(1.0), **LIMITS) for name in names)
    assert not any(passed(name, unlabelled=weak(0.3), **LIMITS) for name in names)


def test_a_limit_that_cannot_be_measured_fails() -> None:
    for name in ("overlap_at_10", "self_retrieval", "titles_ndcg_at_10"):
        assert not passed(name, unlabelled=None, **LIMITS)
    assert not passed("latency_ratio", latency=None, latency_ratio=2.0)


def test_a_new_table_that_is_slower_by_more_than_the_limit_is_refused() -> None:
    def times(ms: float) -> Times:
        return Times(np.full(50, ms))

    found = Latency({1: times(1), 8: times(4)}, {1: times(1.5), 8: times(10)})

    assert made("latency_ratio", latency=found) is None
    assert passed("latency_ratio", latency=found, latency_ratio=3)
    assert not passed("latency_ratio", latency=found, latency_ratio=2)
    assert found.ratios() == {1: 1.5, 8: 2.5}
