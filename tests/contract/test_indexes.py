"""Vector indexes: from create to drop."""

from __future__ import annotations

import numpy as np
import pytest

from embedshift.errors import EmbedshiftError, SchemaError
from embedshift.settings import IndexSettings
from embedshift.stores.model import Index


def rows_of(count: int) -> list[dict[str, object]]:
    vectors = np.random.default_rng(1).standard_normal((count, 4)).astype(np.float32)
    return [{"id": f"{at}", "embedding": (row.tolist(), 10)} for at, row in enumerate(vectors)]


def test_an_index_is_absent_until_it_is_created(store, shelf, new_name, new_index):
    unmade = Index(f"{new_name()}_idx", shelf.table.name, "embedding", 4, IndexSettings())
    assert store.index_state(unmade).status == "absent"


def test_an_index_of_rows_that_are_there_serves(store, shelf, new_index, eventually):
    shelf.write(*rows_of(30), {"id": "without", "title": ("no vector", 10)})
    index = new_index(shelf)
    state = store.index_state(index)
    assert state.status == "serving"
    assert state.rows in (30, None)
    eventually(lambda: len(store.search(shelf.table, index, np.ones(4, np.float32), 30)) == 30)


def test_an_index_of_an_empty_table_serves_nothing(store, shelf, new_index):
    index = new_index(shelf)
    assert store.index_state(index).rows in (0, None)
    assert store.search(shelf.table, index, np.ones(4, np.float32), 5) == []


def test_creating_the_same_index_twice_is_no_error(store, shelf, new_index):
    shelf.write(*rows_of(5))
    index = new_index(shelf, connections=8)
    store.create_index(index)
    assert store.index_state(index).status == "serving"


@pytest.mark.parametrize("options", [{"metric": "euclidean"}, {"connections": 32}], ids=str)
def test_another_index_of_the_same_name_is_refused(store, shelf, new_index, options):
    index = new_index(shelf)
    other = Index(index.name, index.table, index.column, index.dimension, IndexSettings(**options))
    with pytest.raises(SchemaError, match=index.name):
        store.create_index(other)
    assert store.index_state(index).status == "serving"


def test_a_dropped_index_is_absent_and_can_be_made_again(store, shelf, new_index, eventually):
    shelf.write(*rows_of(5))
    index = new_index(shelf)
    store.drop_index(index)
    eventually(lambda: store.index_state(index).status == "absent")
    store.create_index(index)
    eventually(lambda: store.index_state(index).status == "serving")
    eventually(lambda: len(store.search(shelf.table, index, np.ones(4, np.float32), 5)) == 5)


def test_dropping_an_index_that_is_gone_is_no_error(store, shelf, new_index):
    index = new_index(shelf)
    store.drop_index(index)
    store.drop_index(index)


def test_dropping_a_table_drops_its_indexes(store, shelf, new_index, eventually):
    shelf.write(*rows_of(5))
    index = new_index(shelf)
    store.drop(shelf.table.name)
    eventually(lambda: store.index_state(index).status == "absent")
    store.create(shelf.table)


@pytest.mark.parametrize(
    ("column", "dimension"), [("nonsense", 4), ("title", 4), ("embedding", 5)], ids=["absent", "text", "dimension"]
)
def test_an_index_of_a_column_that_does_not_fit_is_refused(store, shelf, new_name, column, dimension):
    index = Index(f"{new_name()}_idx", shelf.table.name, column, dimension, IndexSettings())
    with pytest.raises(SchemaError):
        store.create_index(index)
    assert store.index_state(index).status == "absent"


@pytest.mark.parametrize("options", [{"oversampling": 2.0}, {"rescoring": True}, {"quantization": "b1"}], ids=str)
def test_an_option_that_the_store_lacks_is_refused_with_advice(store, new_name, options):
    error = refusal(store, Index(f"{new_name()}_idx", "articles", "embedding", 4, IndexSettings(**options)))
    assert error is None or (next(iter(options)) in error.what and error.hint)


def refusal(store, index: Index) -> SchemaError | None:
    """Why the store cannot build an index, None if it can."""
    try:
        store.check_index(index)
    except SchemaError as error:
        return error
    return None


def test_the_default_options_can_be_built(store, new_name):
    store.check_index(Index(f"{new_name()}_idx", "articles", "embedding", 4, IndexSettings()))


def test_searching_without_an_index_says_so(store, shelf, new_name):
    index = Index(f"{new_name()}_idx", shelf.table.name, "embedding", 4, IndexSettings())
    with pytest.raises(EmbedshiftError):
        store.search(shelf.table, index, np.ones(4, np.float32), 3)


def test_the_index_of_a_column_is_found_under_any_name(store, shelf, new_index):
    assert store.index_on(shelf.table.name, "embedding") is None
    index = new_index(shelf, metric="euclidean", connections=8)
    found = store.index_on(shelf.table.name, "embedding")
    assert (found.name, found.table, found.column, found.dimension) == (index.name, index.table, "embedding", 4)
    assert (found.options.metric, found.options.connections) == ("euclidean", 8)
    assert store.index_on(shelf.table.name, "title") is None
    store.drop_index(index)
    assert store.index_on(shelf.table.name, "embedding") is None


def test_the_size_of_an_index_is_told_before_it_is_built_and_after(store, shelf, new_index, new_name):
    unmade = Index(f"{new_name()}_idx", shelf.table.name, "embedding", 4, IndexSettings())
    shelf.write(*rows_of(200))
    before = store.index_size(unmade, 200)
    assert not before.measured
    assert before.bytes > 200 * 4 * 4
    index = new_index(shelf)
    after = store.index_size(index, 200)
    assert after.note
    if after.measured:
        # Small files have codebooks and headers that a formula for many rows takes lightly.
        assert before.bytes / 3 < after.bytes < before.bytes * 3
