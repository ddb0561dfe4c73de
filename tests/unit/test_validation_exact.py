"""Exact neighbours, repeated vectors and recall: against plain computations, and however the rows are cut up."""

from __future__ import annotations

import pickle
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedshift.embedding import hash_vectors
from embedshift.errors import RefusedError
from embedshift.validation import duplicates as repeats_module
from embedshift.validation.content_hash import Content
from embedshift.validation.duplicates import Repeats
from embedshift.validation.exact_knn import Nearest, all_finite, exact_scores
from embedshift.validation.recall import Found, recall_at, wilson
from embedshift.validation.survey_result import Examples

METRICS = ["cosine", "dot_product", "euclidean"]
Vectors = NDArray[np.float32]


def drawn(rows: int, dimension: int, seed: int, scale: float = 1.0) -> Vectors:
    return (np.random.default_rng(seed).standard_normal((rows, dimension)) * scale).astype(np.float32)


def names(rows: int) -> list[bytes]:
    return [f"row {at}".encode() for at in range(rows)]


def test_rows_are_finite_number_by_number_even_where_their_sum_is_not() -> None:
    rows = np.ones((5, 4), np.float32)
    rows[1, 2] = np.nan
    rows[2, :2] = np.inf, -np.inf
    rows[3] = np.finfo(np.float32).max  # the sum leaves float32

    assert all_finite(rows).tolist() == [True, False, False, True, True]
    assert all_finite(rows[:0]).tolist() == []


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(0, 60),
    k=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    seed=st.integers(0, 2**32 - 1),
)
def test_neighbours_are_those_of_a_plain_computation_however_the_rows_are_cut(
    metric: Any, rows: int, k: int, cuts: list[int], seed: int
) -> None:
    vectors, probes, keys = drawn(rows, 8, seed), drawn(3, 8, seed + 1), names(rows)
    parts = np.split(np.arange(rows), sorted(min(cut, rows) for cut in cuts))
    gathered = []
    for part in parts:
        one = Nearest(metric, probes, k)
        one.update(vectors[part], [keys[at] for at in part])
        gathered.append(pickle.loads(pickle.dumps(one)))

    scores, found = reduce(add, gathered).ranked()

    for probe, its_scores, its_keys in zip(probes, scores, found, strict=True):
        exact = exact_scores(metric, probe, vectors)
        order = np.argsort(-exact, kind="stable")[:k]
        assert np.allclose(its_scores[: len(order)], exact[order], atol=1e-4)
        assert its_keys[: len(order)].tolist() == [keys[at] for at in order]
        assert np.isneginf(its_scores[len(order) :]).all()
        assert set(its_keys[len(order) :]) <= {b""}


def test_rows_without_a_similarity_never_enter() -> None:
    vectors = drawn(6, 4, 1)
    vectors[0, 1], vectors[2, 0], vectors[4] = np.nan, np.inf, 0
    nearest = Nearest("cosine", drawn(2, 4, 2), 6)

    nearest.update(vectors, names(6))

    assert all(set(found) == {b"row 1", b"row 3", b"row 5", b""} for found in nearest.ranked()[1])


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e20, 1e37])
def test_the_cosine_does_not_depend_on_length(scale: float) -> None:
    vectors, probes = drawn(50, 8, 1), drawn(2, 8, 2)
    plain, scaled = Nearest("cosine", probes, 5), Nearest("cosine", probes, 5)

    plain.update(vectors, names(50))
    scaled.update(vectors * np.float32(scale), names(50))

    assert scaled.ranked()[1].tolist() == plain.ranked()[1].tolist()
    assert np.allclose(scaled.ranked()[0], plain.ranked()[0], atol=1e-5)


def test_many_probes_and_rows_go_through_in_blocks() -> None:
    vectors, probes = drawn(2500, 8, 1), drawn(1100, 8, 2)
    nearest = Nearest("dot_product", probes, 3)

    nearest.update(vectors, names(2500))

    exact = np.sort(probes @ vectors.T, axis=1)[:, ::-1][:, :3]
    assert np.allclose(nearest.ranked()[0], exact, atol=1e-4)


def test_neighbours_of_other_probes_are_not_merged() -> None:
    with pytest.raises(ValueError, match="different probes"):
        _ = Nearest("cosine", drawn(2, 4, 1), 3) + Nearest("cosine", drawn(3, 4, 1), 3)


def repeated(vectors: Vectors, digests: list[bytes]) -> int:
    """The plain count: in each group of equal vectors with more than one digest, all rows but one."""
    groups: dict[bytes, list[bytes]] = {}
    for vector, digest in zip(vectors, digests, strict=True):
        groups.setdefault(vector.tobytes(), []).append(digest)
    return sum(len(group) - 1 for group in groups.values() if len(set(group)) > 1)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_repeated_vectors_are_counted_however_the_rows_are_cut(rows: list[tuple[int, int]], cuts: list[int]) -> None:
    vectors = np.array([[vector, 1.0] for vector, _ in rows], np.float32).reshape(-1, 2)
    digests = [bytes([text]) * 16 for _, text in rows]
    parts = []
    for part in np.split(np.arange(len(rows)), sorted(min(cut, len(rows)) for cut in cuts)):
        one = Repeats()
        one.add(hash_vectors(vectors[part]), [digests[at] for at in part])
        parts.append(pickle.loads(pickle.dumps(one)))

    assert reduce(add, parts).count == repeated(vectors, digests)
    assert reduce(add, reversed(parts)).count == repeated(vectors, digests)


def test_memory_for_repeats_is_bounded_and_a_constant_vector_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats_module, "REMEMBERED_MAX", 500)
    parts = []
    for part in range(20):
        vectors = drawn(1000, 4, part)
        vectors[:10] = 0.5
        one = Repeats()
        one.add(hash_vectors(vectors), [part.to_bytes(8, "big") + at.to_bytes(8, "big") for at in range(1000)])
        one.consolidate()
        parts.append(one)

    together = reduce(add, parts)

    assert together.count == 10 * 20 - 1
    assert len(pickle.dumps(together)) < 500 * 32  # a group takes 25 bytes
    assert together.sampled > 1


def test_so_many_repeats_that_they_cannot_be_remembered_are_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats_module, "REMEMBERED_MAX", 500)
    repeats = Repeats()
    vectors = np.repeat(drawn(1000, 4, 1), 2, axis=0)

    repeats.add(hash_vectors(vectors), [at.to_bytes(8, "big") * 2 for at in range(2000)])

    assert repeats.count == 1000


HASHES = st.integers(0, 2**128 - 1)


@given(st.lists(st.builds(Content.of, st.lists(st.tuples(HASHES, HASHES), max_size=5)), min_size=1, max_size=5))
def test_contents_add_up_in_any_order_and_are_read_back_from_their_text(contents: list[Content]) -> None:
    summed = reduce(add, contents)

    assert reduce(add, reversed(contents)) == summed
    assert Content.parse(summed.text, summed.sketch) == summed


@pytest.mark.parametrize("text", ["", "3", "3:xyz", "3:" + "0" * 31, "-1:" + "0" * 32])
def test_what_is_no_content_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="run embedshift validate"):
        Content.parse(text, Content().sketch)


@given(st.lists(st.dictionaries(st.sampled_from(["missing", "stale"]), st.integers(0, 9)), max_size=5))
def test_examples_stay_few_however_many_are_merged(counts: list[dict[str, int]]) -> None:
    each = [Examples({kind: tuple({"id": at} for at in range(n))[:5] for kind, n in one.items()}) for one in counts]

    merged = reduce(add, each, Examples())

    for kind in ("missing", "stale"):
        assert len(merged.of.get(kind, ())) == min(5, sum(min(one.get(kind, 0), 5) for one in counts))


def nearest_of(scores: list[float], k: int) -> Nearest:
    """The neighbours of one probe in one dimension, where a vector is its own similarity."""
    nearest = Nearest("dot_product", np.ones((1, 1), np.float32), k)
    nearest.update(np.array(scores, np.float32)[:, None], names(len(scores)))
    return nearest


def test_a_row_at_the_same_distance_counts_whichever_row_it_is() -> None:
    nearest = nearest_of([0.9, 0.5, 0.5, 0.5], 2)

    for other in (b"row 1", b"row 2", b"row 3"):
        assert recall_at(nearest, [Found((b"row 0", other), (0.9, 0.5))], 2).value == 1


def test_a_row_farther_than_the_kth_neighbour_does_not_count() -> None:
    recall = recall_at(nearest_of([0.9, 0.8, 0.5], 2), [Found((b"row 0", b"row 2"), (0.9, 0.5))], 2)

    assert (recall.value, recall.worst) == (0.5, (0,))


def test_a_row_that_is_answered_twice_counts_once() -> None:
    recall = recall_at(nearest_of([0.9, 0.8], 2), [Found((b"row 0", b"row 0"), (0.9, 0.9))], 2)

    assert recall.value == 0.5


def test_results_beyond_k_do_not_help() -> None:
    recall = recall_at(nearest_of([0.9, 0.8], 1), [Found((b"row 1", b"row 0"), (0.8, 0.9))], 1)

    assert recall.value == 0


def test_a_table_of_fewer_rows_than_k_can_be_recalled_in_full() -> None:
    assert recall_at(nearest_of([0.9], 10), [Found((b"row 0",), (0.9,))], 10).value == 1


def test_an_index_that_answers_nothing_has_no_recall() -> None:
    assert recall_at(nearest_of([0.9], 10), [Found((), ())], 10).value == 0


def test_without_probes_recall_is_not_a_number() -> None:
    recall = recall_at(Nearest("cosine", np.empty((0, 4), np.float32), 10), [], 10)

    assert np.isnan(recall.value)
    assert recall.probes == 0


@pytest.mark.parametrize(
    ("share", "trials", "low", "high"),
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    [
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0.0, 20, 0.0, 0.1611),
        (1.0, 29, 0.8830, 1.0),
    ],
)
def test_the_wilson_interval_is_that_of_the_literature(share: float, trials: int, low: float, high: float) -> None:
    assert wilson(share, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_interval_is_wider_where_the_misses_of_a_probe_come_together() -> None:
    rows = [(f"row {at}".encode(), 1.0 - at / 100) for at in range(10)]
    many = Nearest("dot_product", np.ones((100, 1), np.float32), 10)
    many.update(np.array([[score] for _, score in rows], np.float32), [key for key, _ in rows])

    def answer(hits: int) -> Found:
        return Found(tuple(key for key, _ in rows[:hits]), tuple(score for _, score in rows[:hits]))

    spread = recall_at(many, [answer(9)] * 100, 10)
    clustered = recall_at(many, [answer(10)] * 90 + [answer(0)] * 10, 10)

    assert spread.value == pytest.approx(clustered.value)
    assert clustered.high - clustered.low > 2 * (spread.high - spread.low)
