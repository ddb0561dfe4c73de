"""Tables: created, described, widened, dropped."""

from __future__ import annotations

import pyarrow as pa
import pytest

from embedshift.errors import InputError, SchemaError
from embedshift.stores.model import Column, Table
from embedshift.tokens import WHOLE_RING, subtract, unite


def test_a_table_is_described_as_it_was_created(new_shelf):
    columns = (
        Column("section", "text", "partition"),
        Column("year", "int", "partition"),
        Column("at", "timestamp", "clustering", descending=True),
        Column("id", "uuid", "clustering"),
        Column("body", "text"),
        Column("embedding", "vector<float, 8>"),
        Column("tags", "set<text>"),
    )
    described = new_shelf(*columns).table
    assert described.keys == columns[:4]
    assert sorted(described.others, key=lambda c: c.name) == sorted(columns[4:], key=lambda c: c.name)


def test_key_columns_come_first_in_key_order(new_shelf):
    described = new_shelf(
        Column("body", "text"), Column("b", "int", "clustering"), Column("a", "text", "partition")
    ).table
    assert [c.name for c in described.columns] == ["a", "b", "body"]


def test_a_table_exists_from_create_to_drop(store, new_name):
    name = new_name()
    assert not store.exists(name)
    store.create(Table(name, (Column("id", "text", "partition"),)))
    assert store.exists(name)
    store.drop(name)
    assert not store.exists(name)


def test_dropping_what_is_gone_is_no_error(store, new_name):
    store.drop(new_name())


def test_describing_what_is_not_there_names_it(store, new_name):
    name = new_name()
    with pytest.raises(SchemaError, match=name):
        store.describe(name)


def test_a_name_that_is_taken_is_refused(store, shelf):
    with pytest.raises(SchemaError, match=shelf.table.name):
        store.create(shelf.table)


@pytest.mark.parametrize(
    "columns",
    [
        (Column("id", "text", "partition"), Column("a", "sometype")),
        (Column("id", "text", "partition"), Column("a", "vector<float, 0>")),
        (Column("a", "text"),),
    ],
    ids=["unknown type", "vector without dimensions", "no partition key"],
)
def test_a_table_that_cannot_be_is_refused(store, new_name, columns):
    name = new_name()
    with pytest.raises(SchemaError):
        store.create(Table(name, columns))
    assert not store.exists(name)


def test_a_column_can_be_added_to_a_table_that_holds_rows(store, shelf):
    shelf.write({"id": "a", "title": ("first", 10)})
    store.add_column(shelf.table.name, Column("embedding_digest", "text"))
    shelf.table = store.describe(shelf.table.name)
    assert shelf.table.column("embedding_digest") == Column("embedding_digest", "text")
    assert shelf.row(id="a")["embedding_digest"] is None
    shelf.write({"id": "a", "embedding_digest": ("d", 11)})
    row = shelf.row(id="a")
    assert (row["title"], row["embedding_digest"]) == ("first", "d")


def test_a_column_that_exists_is_not_added_again(store, shelf):
    with pytest.raises(SchemaError):
        store.add_column(shelf.table.name, Column("title", "text"))


def test_a_table_created_again_is_empty(store, shelf):
    shelf.write({"id": "a", "title": ("first", 10)})
    store.drop(shelf.table.name)
    store.create(shelf.table)
    assert shelf.scan() == []


def test_the_ring_is_covered_once(store, shelf):
    ranges = [piece.range for piece in store.ring(shelf.table.name)]
    assert unite(ranges) == [WHOLE_RING]
    assert subtract([WHOLE_RING], ranges) == []
    assert sum(each.width for each in ranges) == WHOLE_RING.width


def test_an_estimate_is_never_negative(store, shelf):
    shelf.write(*({"id": f"{i}", "title": ("x", 1)} for i in range(50)))
    estimate = store.estimate(shelf.table.name)
    assert estimate.rows >= 0
    assert estimate.bytes >= 0


def test_reading_a_column_that_is_not_there_names_it(shelf):
    with pytest.raises(SchemaError, match="nonsense"):
        shelf.scan(values=["nonsense"])


def test_writing_a_column_that_is_not_there_names_it(store, shelf):
    batch = pa.RecordBatch.from_pydict({"id": ["a"], "nonsense": ["x"], "writetime(nonsense)": pa.array([1])})
    with pytest.raises(SchemaError, match="nonsense"):
        store.write(shelf.table, batch)


def test_writing_values_without_write_times_is_refused(store, shelf):
    with pytest.raises(InputError, match="title"):
        store.write(shelf.table, pa.RecordBatch.from_pydict({"id": ["a"], "title": ["x"]}))


def test_writing_without_the_whole_key_is_refused(store, new_shelf):
    shelf = new_shelf(Column("a", "text", "partition"), Column("b", "text", "clustering"))
    with pytest.raises(SchemaError, match="b"):
        store.write(shelf.table, pa.RecordBatch.from_pydict({"a": ["x"]}))


def test_what_copying_loses_is_said_in_lines(store, shelf):
    assert all(isinstance(line, str) and "\n" not in line for line in store.remarks(shelf.table))


def test_rows_expire_by_a_column_only_where_the_store_can_do_that(store, new_name):
    name = new_name()
    store.create(Table(name, (Column("id", "text", "partition"), Column("until", "timestamp"))))
    assert store.describe(name).row_ttl is None
    if "ScyllaDB" in store.label:
        store.set_row_ttl(name, "until")
        store.set_row_ttl(name, "until")
        assert store.describe(name).row_ttl == "until"
    else:
        with pytest.raises(SchemaError):
            store.set_row_ttl(name, "until")


def test_a_store_says_once_what_each_write_took(store, shelf):
    store.latencies()
    shelf.write({"id": "a", "title": ("t", 10)}, {"id": "b", "title": ("t", 10)})
    took = store.latencies()
    assert 1 <= len(took) <= 2
    assert all(0 < each < 60 for each in took)
    shelf.row(id="a")
    assert store.latencies() == []


def test_a_store_says_what_it_is(store):
    assert store.label
    assert "\n" not in store.label


def test_closing_twice_is_no_error(store):
    store.close()
    store.close()
