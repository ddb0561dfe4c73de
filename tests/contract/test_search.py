"""Searches: against exact neighbours, and against a table that changes."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from embedshift.errors import InputError
from embedshift.stores.model import Column

DIMENSION = 16


@pytest.fixture
def library(new_shelf):
    """Vectors of 16 dimensions, of length 1."""
    return new_shelf(
        Column("id", "int", "partition"), Column("title", "text"), Column("embedding", f"vector<float, {DIMENSION}>")
    )


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    """Shape (count, 16), float32, each of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(shelf, vectors: np.ndarray, time: int = 10) -> None:
    rows = ({"id": at, "title": (f"title {at}", time), "embedding": (v.tolist(), time)} for at, v in enumerate(vectors))
    shelf.write(*rows)


def exact_scores(metric: str, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    query, vectors = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return -((vectors - query) ** 2).sum(axis=1)
    scores = vectors @ query
    return scores / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query) if metric == "cosine" else scores


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot_product"])
def test_the_nearest_rows_are_found_with_their_scores(store, library, new_index, eventually, metric):
    vectors = unit_vectors(400)
    if metric != "dot_product":
        vectors *= np.linspace(0.5, 2, 400, dtype=np.float32)[:, None]
    fill(library, vectors)
    index = new_index(library, DIMENSION, metric=metric)
    eventually(lambda: len(store.search(library.table, index, vectors[0], 400)) == 400)
    found, wanted = 0, 0
    for query in unit_vectors(20, seed=1):
        scores = exact_scores(metric, query, vectors)
        hits = store.search(library.table, index, query, 10)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            assert hit.score == pytest.approx(scores[hit.values["id"]], abs=1e-4)
        found += len({hit.values["id"] for hit in hits} & set(np.argsort(-scores)[:10].tolist()))
        wanted += 10
    assert found / wanted > 0.95


def test_a_condition_on_the_key(store, library, new_index, eventually):
    vectors = unit_vectors(5)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    eventually(lambda: len(store.search(library.table, index, vectors[3], 5)) == 5)
    hits = store.search(library.table, index, vectors[3], 3, values=["title"], where={"id": 4})
    assert [dict(hit.values) for hit in hits] == [{"id": 4, "title": "title 4"}]
    assert store.search(library.table, index, vectors[3], 3, where={"id": 77}) == []


def test_a_hit_holds_the_key_and_what_was_asked_for(store, library, new_index, eventually):
    vectors = unit_vectors(5)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    hits = eventually(lambda: store.search(library.table, index, vectors[3], 1, values=["title", "embedding"]))
    assert hits[0].values["title"] == "title 3"
    assert hits[0].values["embedding"] == vectors[3].tolist()
    assert set(hits[0].values) == {"id", "title", "embedding"}
    assert set(store.search(library.table, index, vectors[3], 1)[0].values) == {"id"}


def test_keys_of_many_columns_come_back_in_a_hit(store, new_shelf, new_index, eventually):
    shelf = new_shelf(
        Column("section", "text", "partition"),
        Column("id", "uuid", "clustering"),
        Column("embedding", "vector<float, 4>"),
    )
    id_ = uuid.uuid4().bytes
    shelf.write({"section": "news", "id": id_, "embedding": ([1.0, 0.0, 0.0, 0.0], 1)})
    index = new_index(shelf)
    hits = eventually(lambda: store.search(shelf.table, index, np.ones(4, np.float32), 1))
    assert hits[0].values == {"section": "news", "id": id_}
    assert hits[0].score == pytest.approx(0.5, abs=1e-5)


def test_more_than_there_is_returns_all(store, library, new_index, eventually):
    vectors = unit_vectors(30)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    hits = eventually(lambda: len(found := store.search(library.table, index, vectors[0], 500)) == 30 and found)
    assert sorted(hit.values["id"] for hit in hits) == list(range(30))


def nearest_id(store, shelf, index, query):
    hits = store.search(shelf.table, index, query, 1)
    return hits[0].values["id"] if hits else None


def test_a_row_inserted_later_is_found(store, library, new_index, eventually):
    vectors = unit_vectors(21)
    fill(library, vectors[:20])
    index = new_index(library, DIMENSION)
    library.write({"id": 20, "embedding": (vectors[20].tolist(), 10)})
    eventually(lambda: nearest_id(store, library, index, vectors[20]) == 20)


def test_a_row_deleted_later_is_not_found(store, library, new_index, eventually):
    vectors = unit_vectors(20)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    eventually(lambda: nearest_id(store, library, index, vectors[7]) == 7)
    library.delete(20, {"id": 7})
    eventually(lambda: nearest_id(store, library, index, vectors[7]) != 7)
    eventually(lambda: len(store.search(library.table, index, vectors[7], 20)) == 19)


def test_a_row_is_found_by_its_newest_vector_only(store, library, new_index, eventually):
    vectors = unit_vectors(20)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    library.write({"id": 7, "embedding": ((-vectors[7]).tolist(), 20)})
    eventually(lambda: nearest_id(store, library, index, -vectors[7]) == 7)
    scores = {hit.values["id"]: hit.score for hit in store.search(library.table, index, vectors[7], 20)}
    assert scores[7] == pytest.approx(-1, abs=1e-4)


def test_a_write_that_loses_changes_no_search(store, library, new_index, eventually):
    vectors = unit_vectors(20)
    fill(library, vectors, time=10)
    index = new_index(library, DIMENSION)
    library.write({"id": 7, "embedding": ((-vectors[7]).tolist(), 5)})
    eventually(lambda: nearest_id(store, library, index, vectors[7]) == 7)


def test_a_row_whose_vector_was_deleted_is_not_found(store, library, new_index, eventually):
    vectors = unit_vectors(20)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    library.write({"id": 7, "embedding": (None, 20)})
    eventually(lambda: 7 not in {hit.values["id"] for hit in store.search(library.table, index, vectors[7], 20)})
    assert library.title(id=7) == "title 7"


def test_a_row_deleted_and_inserted_again_is_found(store, library, new_index, eventually):
    vectors = unit_vectors(20)
    fill(library, vectors)
    index = new_index(library, DIMENSION)
    library.delete(20, {"id": 7})
    eventually(lambda: nearest_id(store, library, index, vectors[7]) != 7)
    library.write({"id": 7, "embedding": (vectors[7].tolist(), 30)})
    eventually(lambda: nearest_id(store, library, index, vectors[7]) == 7)


def test_expired_rows_leave_room_for_those_that_live(store, library, new_index, eventually):
    vectors = unit_vectors(1)
    near = vectors[0] + 0.01 * unit_vectors(60, seed=2)
    library.write(*({"id": at, "embedding": (v.tolist(), 10, 2)} for at, v in enumerate(near)))
    far = unit_vectors(5, seed=3)
    library.write(*({"id": 100 + at, "embedding": (v.tolist(), 10)} for at, v in enumerate(far)))
    index = new_index(library, DIMENSION)

    def only_the_living() -> bool:
        found = {hit.values["id"] for hit in store.search(library.table, index, vectors[0], 5)}
        return found == {100, 101, 102, 103, 104}

    eventually(only_the_living)


@pytest.mark.parametrize("query", [np.ones(DIMENSION + 1, np.float32), np.ones((1, DIMENSION), np.float32)])
def test_a_question_of_another_dimension_is_refused(store, library, new_index, query):
    fill(library, unit_vectors(3))
    index = new_index(library, DIMENSION)
    with pytest.raises(InputError):
        store.search(library.table, index, query, 3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_question_without_a_direction_is_refused(store, library, new_index, value):
    fill(library, unit_vectors(3))
    index = new_index(library, DIMENSION)
    with pytest.raises(InputError):
        store.search(library.table, index, np.full(DIMENSION, value, np.float32), 3)
