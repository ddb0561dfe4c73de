"""Which statements a batch becomes: one a row if the row's cells have one time, more if not."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from cassandra.query import UNSET_VALUE

from embedshift.errors import InputError, SchemaError
from embedshift.stores.cql.batch import WriteBatch
from embedshift.stores.cql.write import WritePlan
from embedshift.stores.model import Column, Table, remaining_ttl, write_time

TABLE = Table(
    "t",
    (
        Column("id", "int", "partition"),
        Column("title", "text"),
        Column("v", "vector<float, 2>"),
        Column("n", "int"),
    ),
)
SHELF = Table(
    "s",
    (
        Column("a", "int", "partition"),
        Column("b", "int", "clustering"),
        Column("shared", "text", "static"),
        Column("title", "text"),
    ),
)


class UnpreparedConnection:
    """Prepares nothing: a statement stays its text."""

    keyspace = "ks"
    settings = SimpleNamespace(request_timeout=timedelta(seconds=1))

    def prepare(self, text: str) -> Any:
        nothing: dict[str, Any] = dict.fromkeys(
            ["retry_policy", "consistency_level", "serial_consistency_level", "fetch_size", "custom_payload",
             "is_idempotent", "column_metadata", "keyspace", "routing_key_indexes"]
        )  # fmt: skip
        return SimpleNamespace(text=text, **nothing)


def batch(table: Table, *rows: dict[str, Any]) -> pa.RecordBatch:
    """Rows of key values and ``(value, time[, ttl])`` cells."""
    from embedshift.stores.cql_types import arrow_type

    fields = {}
    for column in table.columns:
        cells = [row.get(column.name) for row in rows]
        if column in table.keys:
            fields[column.name] = pa.array(cells, arrow_type(column.type))
            continue
        whole = [(*(cell or (None, None)), None)[:3] for cell in cells]
        fields[column.name] = pa.array([value for value, _, _ in whole], arrow_type(column.type))
        fields[write_time(column.name)] = pa.array([time for _, time, _ in whole], pa.int64())
        fields[remaining_ttl(column.name)] = pa.array([ttl for _, _, ttl in whole], pa.int32())
    return pa.RecordBatch.from_pydict(fields)


def planned(table: Table, *rows: dict[str, Any]) -> list[tuple[int, str, list[Any]]]:
    plan = WritePlan(UnpreparedConnection(), table, WriteBatch(table, batch(table, *rows)), lambda: None)
    kinds = [request.prepared_statement.text.split(" ks.")[0] for request in plan.requests]
    assert plan.rejected == {}
    return [(row, kind, request.values) for row, kind, request in zip(plan.rows, kinds, plan.requests, strict=True)]


def long(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def int_(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True)


def test_a_row_of_one_time_is_one_insert():
    (only,) = planned(TABLE, {"id": 1, "title": ("a", 10), "v": ([1, 0], 10)})
    assert only == (
        0, "INSERT INTO", [int_(1), b"a", b"\x3f\x80\0\0\0\0\0\0", UNSET_VALUE, long(10), int_(0)]
    )  # fmt: skip


def test_what_was_never_written_stays_unset_and_what_was_deleted_is_null():
    (only,) = planned(TABLE, {"id": 1, "title": ("a", 10), "n": (None, 10)})
    assert only[2][1:4] == [b"a", UNSET_VALUE, None]


def test_a_ttl_is_kept():
    (only,) = planned(TABLE, {"id": 1, "title": ("a", 10, 500), "n": (3, 10, 500)})
    assert only[2][-2:] == [long(10), int_(500)]


def test_cells_of_other_times_are_updates_and_the_longest_lived_make_the_row():
    found = planned(TABLE, {"id": 1, "title": ("short", 90, 60), "v": ([1, 2], 20), "n": (3, 30)})
    assert [(kind, values[:2] if kind == "UPDATE" else values[-2:]) for _, kind, values in found] == [
        ("UPDATE", [long(90), int_(60)]),
        ("UPDATE", [long(20), int_(0)]),
        ("INSERT INTO", [long(30), int_(0)]),
    ]
    assert found[2][2][:4] == [int_(1), UNSET_VALUE, UNSET_VALUE, int_(3)]


def test_a_row_without_cells_is_a_marker_older_than_everything():
    (only,) = planned(TABLE, {"id": 1})
    assert only == (0, "INSERT INTO", [int_(1), long(1), int_(0)])


def test_deletions_alone_make_no_row_of_their_time():
    marker, deletion = planned(TABLE, {"id": 1, "n": (None, 50)})
    assert marker[2] == [int_(1), long(1), int_(0)]
    assert deletion[1] == "UPDATE"
    assert deletion[2] == [long(50), int_(0), UNSET_VALUE, UNSET_VALUE, None, int_(1)]


def test_static_cells_are_written_once_for_their_partition():
    rows = [{"a": 1, "b": b, "shared": ("s", 5), "title": ("t", 10)} for b in range(3)]
    found = planned(SHELF, *rows, {"a": 2, "b": None, "shared": ("alone", 6)})
    assert [values for _, _, values in found] == [
        [int_(1), b"s", long(5), int_(0)],
        [int_(2), b"alone", long(6), int_(0)],
        *([int_(1), int_(b), b"t", long(10), int_(0)] for b in range(3)),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": None, "title": ("a", 10)}, "id is null, and part of the key"),
        ({"id": 1, "title": ("a", None)}, "title has a value without a write time"),
    ],
)
def test_a_bad_row_affects_only_itself(row, reason):
    write_batch = WriteBatch(TABLE, batch(TABLE, row, {"id": 2, "title": ("b", 10)}))
    plan = WritePlan(UnpreparedConnection(), TABLE, write_batch, lambda: None)
    assert plan.rejected == {0: reason}
    assert plan.rows == [1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda rows: rows.drop_columns(["id"]), SchemaError, "lacks its key column id"),
        (lambda rows: rows.drop_columns(["writetime(title)"]), InputError, r"title without writetime\(title\)"),
        (lambda rows: rows.append_column("x", pa.array(["?"])), SchemaError, "has no column x"),
        (lambda rows: rows.set_column(1, "title", pa.array([[1]])), InputError, "title is a text"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_whole(change, error, words):
    with pytest.raises(error, match=words):
        WriteBatch(TABLE, change(batch(TABLE, {"id": 1, "title": ("a", 10)})))


@pytest.mark.parametrize(
    ("vector", "lacks"),
    [([0, 0], True), ([1e-20, 0], True), ([float("nan"), 1], True), ([float("inf"), 1], True),
     ([1e30, 1], False), ([0, 1], False), (None, False)],
)  # fmt: skip
def test_a_vector_without_direction_is_known(vector, lacks):
    write_batch = WriteBatch(TABLE, batch(TABLE, {"id": 1, "v": (vector, 10)}))
    assert write_batch.regular["v"].lacks_direction(0) is lacks
    assert write_batch.regular["title"].lacks_direction(0) is False
