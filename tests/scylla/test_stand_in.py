"""The stand-in against SCYLLADB.md, by the plain driver: what CDC refuses and logs, and what the index learns of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cassandra import InvalidRequest
from cassandra.cluster import Session
from cassandra.protocol import ServerError
from cassandra.query import BatchStatement, SimpleStatement

from tests.scylla.shelves import Shelf, X, Y, Z, new_name, now_us
from tests.scylla.stand_in import StandIn
from tests.scylla.times import time_us

pytestmark = pytest.mark.long

HOUR_US = 3_600_000_000


@pytest.fixture
def pages(session: Session) -> Iterator[str]:
    """A table with a clustering key, and CDC by its option."""
    table = new_name()
    session.execute(
        f"CREATE TABLE {table} (id text, page int, body text, PRIMARY KEY (id, page)) WITH cdc = {{'enabled': true}}"
    )
    yield table
    session.execute(f"DROP TABLE {table}")


def operations(session: Session, table: str) -> list[tuple[int, int | None]]:
    rows = list(session.execute(f"SELECT * FROM {table}_scylla_cdc_log"))
    rows.sort(key=lambda row: (row["cdc$time"].time, row["cdc$batch_seq_no"]))
    return [(row["cdc$operation"], row["page"]) for row in rows]


def test_any_write_time_is_taken_before_the_index(shelf):
    shelf.put("old", X, 1)
    shelf.put("ahead", Y, now_us() + HOUR_US)
    assert len(list(shelf.session.execute(f"SELECT id FROM {shelf.table}"))) == 2


def test_a_write_older_than_the_first_streams_is_refused(shelf):
    shelf.create_index()
    floor = shelf.first_stream_us()
    assert now_us() - 10_000_000 < floor < now_us() - 4_000_000
    with pytest.raises(ServerError, match=r"could not find any CDC streams for table [-0-9a-f]+ for timestamp \d+"):
        shelf.put("old", X, floor - 1000)
    with pytest.raises(ServerError, match="could not find any CDC streams"):
        shelf.session.execute(f"DELETE FROM {shelf.table} USING TIMESTAMP {floor - 1000} WHERE id = 'old'")
    shelf.put("at the floor", Y, floor)
    assert [row["id"] for row in shelf.session.execute(f"SELECT id FROM {shelf.table}")] == ["at the floor"]


def test_the_floor_moves_up(shelf, stand_in: StandIn):
    shelf.create_index()
    at = shelf.put("before", X)
    time.sleep(0.01)
    stand_in.raise_floor(shelf.keyspace, shelf.table, time.time())
    with pytest.raises(ServerError, match="could not find any CDC streams"):
        shelf.put("after", Y, at)
    assert shelf.first_stream_us() > at


def test_a_write_in_the_future_is_refused(shelf):
    shelf.create_index()
    with pytest.raises(InvalidRequest, match="from the future"):
        shelf.put("ahead", X, now_us() + 8_000_000)
    shelf.put("a little ahead", Y, now_us() + 4_000_000)


def test_the_driver_s_own_time_is_judged_too(shelf):
    shelf.create_index()
    cluster = shelf.session.cluster
    cluster.timestamp_generator, usual = (lambda: now_us() + 8_000_000), cluster.timestamp_generator
    try:
        with pytest.raises(InvalidRequest, match="from the future"):
            shelf.session.execute(f"INSERT INTO {shelf.table} (id, v) VALUES ('ahead', [1, 0, 0])")
    finally:
        cluster.timestamp_generator = usual


def test_the_server_s_clock_can_be_another(shelf, stand_in: StandIn):
    shelf.create_index()
    stand_in.now = lambda: time.time() - 20
    with pytest.raises(InvalidRequest, match="from the future"):
        shelf.put("present", X)


def test_the_index_begins_with_the_whole_table(shelf, eventually):
    shelf.put("old", X, 1)
    shelf.put("older than the floor", Y, now_us() - HOUR_US)
    shelf.serving(eventually)
    assert (shelf.search(X), shelf.search(Y)) == (["old"], ["older than the floor"])
    assert shelf.status() == {"status": "SERVING", "count": 2, "build_progress": 100.0}


def test_the_log_bears_the_write_s_own_time(shelf):
    shelf.create_index()
    at = shelf.put("a", X, now_us() - 2_000_000)
    (row,) = shelf.log()
    assert time_us(row["cdc$time"]) == at
    assert (row["cdc$operation"], row["id"], row["title"], row["v"]) == (2, "a", "t", X)
    assert row["cdc$deleted_v"] is None


def test_present_writes_and_deletes_reach_the_index(shelf, eventually):
    shelf.put("a", X)
    shelf.serving(eventually)
    shelf.put("b", Y)
    eventually(lambda: shelf.search(Y) == ["b"])
    shelf.session.execute(f"UPDATE {shelf.table} SET v = %s WHERE id = 'b'", (Z,))
    eventually(lambda: shelf.search(Z) == ["b"])
    shelf.session.execute(f"UPDATE {shelf.table} SET v = null WHERE id = 'b'")
    eventually(lambda: shelf.status()["count"] == 1)
    shelf.session.execute(f"DELETE FROM {shelf.table} WHERE id = 'a'")
    eventually(lambda: shelf.status()["count"] == 0)
    assert shelf.search(X, 10) == []


def test_a_late_write_never_reaches_the_index(shelf, eventually):
    shelf.serving(eventually)
    created = now_us()
    shelf.settle()
    shelf.put("late", X, created)
    shelf.put("present", Y)
    eventually(lambda: shelf.search(Y) == ["present"])
    shelf.settle()
    assert shelf.search(X, 10) == ["present"]
    assert shelf.status()["count"] == 1
    assert len(list(shelf.session.execute(f"SELECT id FROM {shelf.table}"))) == 2
    assert created in [time_us(row["cdc$time"]) for row in shelf.log()]


def test_a_newer_vector_store_reads_the_row_that_the_log_names(shelf, stand_in: StandIn, eventually):
    stand_in.vector_store.rereads = True
    shelf.serving(eventually)
    created = now_us()
    shelf.settle()
    shelf.put("late", X, created)
    shelf.session.execute(f"UPDATE {shelf.table} SET title = 'present' WHERE id = 'late'")
    eventually(lambda: shelf.search(X) == ["late"])
    shelf.session.execute(f"UPDATE {shelf.table} SET v = null WHERE id = 'late'")
    eventually(lambda: shelf.status()["count"] == 0)


def test_a_partition_of_several_rows_leaves_its_keys(session, server, eventually):
    table = new_name()
    session.execute(f"CREATE TABLE {table} (id text, page int, v vector<float, 3>, PRIMARY KEY (id, page))")
    shelf = Shelf(session, server, table)
    for page in (1, 2):
        session.execute(f"INSERT INTO {table} (id, page, v) VALUES ('a', %s, [1, 0, 0])", (page,))
    shelf.serving(eventually)
    session.execute(f"DELETE FROM {table} WHERE id = 'a' AND page = 1")
    eventually(lambda: shelf.status()["count"] == 1)
    session.execute(f"DELETE FROM {table} WHERE id = 'a'")
    shelf.settle()
    assert (shelf.status()["count"], shelf.search(X)) == (1, [])
    session.execute(f"DROP TABLE {table}")


def test_what_only_the_slow_reader_meets_reaches_the_index(shelf, eventually):
    shelf.serving(eventually)
    shelf.settle()
    shelf.put("a little late", X, now_us() - 500_000)
    eventually(lambda: shelf.search(X) == ["a little late"])


def test_a_late_delete_leaves_a_stale_key(shelf, eventually):
    shelf.serving(eventually)
    at = shelf.put("a", X)
    shelf.put("b", Y)
    eventually(lambda: sorted(shelf.search(X, 2)) == ["a", "b"])
    shelf.settle()
    shelf.session.execute(f"DELETE FROM {shelf.table} USING TIMESTAMP {at + 1} WHERE id = 'a'")
    shelf.settle()
    assert (shelf.search(X, 2), shelf.search(X, 1)) == (["b"], [])
    assert shelf.status()["count"] == 2


def test_expiry_makes_no_event(shelf, eventually):
    shelf.serving(eventually)
    shelf.session.execute(f"INSERT INTO {shelf.table} (id, v) VALUES ('a', [1, 0, 0]) USING TTL 2")
    eventually(lambda: shelf.status()["count"] == 1)
    eventually(lambda: not list(shelf.session.execute(f"SELECT id FROM {shelf.table}")))
    shelf.settle()
    assert (shelf.status()["count"], shelf.search(X)) == (1, [])
    assert [row["cdc$ttl"] for row in shelf.log()] == [2]


def test_dropping_the_index_keeps_a_silent_log(shelf):
    shelf.create_index()
    shelf.put("a", X)
    shelf.session.execute(f"DROP INDEX {shelf.index}")
    shelf.put("b", Y)
    shelf.put("old", Z, 1)
    assert [row["id"] for row in shelf.log()] == ["a"]
    where = f"WHERE keyspace_name = '{shelf.keyspace}' AND table_name = '{shelf.table}'"
    assert list(shelf.session.execute(f"SELECT * FROM system_schema.indexes {where}")) == []
    (row,) = shelf.session.execute(f"SELECT cdc FROM system_schema.scylla_tables {where}")
    assert not row["cdc"]


def test_switching_cdc_off_keeps_a_silent_log(pages, session):
    session.execute(f"INSERT INTO {pages} (id, page) VALUES ('a', 1)")
    where = f"WHERE keyspace_name = '{session.keyspace}' AND table_name = '{pages}'"
    (row,) = session.execute(f"SELECT cdc FROM system_schema.scylla_tables {where}")
    assert row["cdc"]["enabled"] == "true"
    session.execute(f"ALTER TABLE {pages} WITH cdc = {{'enabled': false}}")
    session.execute(f"INSERT INTO {pages} (id, page) VALUES ('b', 1)")
    assert operations(session, pages) == [(2, 1)]


def test_a_transaction_that_was_not_applied_makes_no_row(shelf):
    shelf.create_index()
    insert = f"INSERT INTO {shelf.table} (id, title, v) VALUES ('a', %s, [1, 0, 0]) IF NOT EXISTS"
    assert [shelf.session.execute(insert, (title,)).was_applied for title in ("one", "two")] == [True, False]
    update = f"UPDATE {shelf.table} SET title = 'three' WHERE id = 'a' IF title = %s"
    assert [shelf.session.execute(update, (title,)).was_applied for title in ("two", "one")] == [False, True]
    assert [(row["cdc$operation"], row["title"]) for row in shelf.log()] == [(2, "one"), (1, "three")]
    (written,) = shelf.session.execute(f"SELECT writetime(v) AS v, writetime(title) AS title FROM {shelf.table}")
    assert [time_us(row["cdc$time"]) for row in shelf.log()] == [written["v"], written["title"]]


@pytest.mark.parametrize("prepared", [True, False])
def test_each_kind_of_write_is_logged(shelf, prepared: bool):
    shelf.create_index()

    def run(text: str, values: tuple[Any, ...]) -> None:
        if prepared:
            shelf.session.execute(shelf.session.prepare(text), values)
        else:
            shelf.session.execute(text.replace("?", "%s"), values)

    run(f"INSERT INTO {shelf.table} (id, v) VALUES (?, ?)", ("a", X))
    run(f"UPDATE {shelf.table} SET title = ? WHERE id = ?", ("t", "a"))
    run(f"UPDATE {shelf.table} SET v = ? WHERE id = ?", (None, "a"))
    run(f"DELETE title FROM {shelf.table} WHERE id = ?", ("a",))
    run(f"DELETE FROM {shelf.table} WHERE id = ?", ("a",))
    said = [(row["cdc$operation"], row["id"], row["title"], row["v"]) for row in shelf.log()]
    assert said == [
        (2, "a", None, X), (1, "a", "t", None), (1, "a", None, None), (1, "a", None, None), (4, "a", None, None)
    ]  # fmt: skip
    assert [row["cdc$deleted_v"] for row in shelf.log()] == [None, None, True, None, None]
    assert [row["cdc$deleted_title"] for row in shelf.log()] == [None, None, None, True, None]


def test_a_value_that_is_left_out_is_not_logged(shelf):
    shelf.create_index()
    insert = shelf.session.prepare(f"INSERT INTO {shelf.table} (id, title, v) VALUES (?, ?, ?)")
    shelf.session.execute(insert.bind({"id": "a", "title": "t"}))
    (row,) = shelf.log()
    assert (row["v"], row["cdc$deleted_v"], row["title"]) == (None, None, "t")


def test_rows_partitions_and_ranges_are_deleted(pages, session):
    for where in ("page = 1", "", "page > 1 AND page <= 5", "page >= 7"):
        text = f"DELETE FROM {pages} WHERE id = 'a'"
        session.execute(text + (f" AND {where}" if where else ""))
    found = operations(session, pages)
    assert found == [(3, 1), (4, None), (6, 1), (7, 5), (5, 7), (7, None)]


def test_batches_are_logged_and_judged_whole(shelf):
    shelf.create_index()
    insert = shelf.session.prepare(f"INSERT INTO {shelf.table} (id, v) VALUES (?, ?)")
    batch = BatchStatement()
    batch.add(insert, ("a", X))
    batch.add(SimpleStatement(f"DELETE FROM {shelf.table} WHERE id = 'b'"))
    shelf.session.execute(batch)
    two = f"INSERT INTO {shelf.table} (id) VALUES ('c'); DELETE FROM {shelf.table} WHERE id = 'd';"
    shelf.session.execute(f"BEGIN BATCH {two} APPLY BATCH")
    assert sorted((row["id"], row["cdc$operation"]) for row in shelf.log()) == [("a", 2), ("b", 4), ("c", 2), ("d", 4)]
    old = BatchStatement()
    old.add(insert, ("e", X))
    old.add(SimpleStatement(f"INSERT INTO {shelf.table} (id) VALUES ('f') USING TIMESTAMP 5"))
    with pytest.raises(ServerError, match="could not find any CDC streams"):
        shelf.session.execute(old)
    assert [row["id"] for row in shelf.session.execute(f"SELECT id FROM {shelf.table} WHERE id IN ('e', 'f')")] == []


def test_a_column_that_comes_later_is_logged(shelf, eventually: Callable[..., Any]):
    shelf.create_index()
    shelf.session.execute(f"ALTER TABLE {shelf.table} ADD tags set<text>")
    shelf.session.execute(f"INSERT INTO {shelf.table} (id, tags) VALUES ('a', {{'x', 'y'}})")
    (row,) = shelf.log()
    assert set(row["tags"]) == {"x", "y"}
    shelf.session.execute(f"UPDATE {shelf.table} SET tags = tags + {{'z'}}, title = 't' WHERE id = 'b'")
    shelf.session.execute(f"DELETE tags['z'] FROM {shelf.table} WHERE id = 'b'")
    said = [(row["cdc$operation"], row["id"], row["title"], row["tags"]) for row in shelf.log()[1:]]
    assert said == [(1, "b", "t", None), (1, "b", None, None)]


def test_the_index_keeps_up_with_present_writes(shelf, eventually: Callable[..., Any]):
    """Also those that are under way while the index is created."""

    def write(number: int) -> None:
        for step in range(60):
            id_, vector = f"{number}-{step}", [float(number + 1), step + 1.0, 1.0]
            if step % 3 == 2:
                shelf.session.execute(f"DELETE FROM {shelf.table} WHERE id = %s", (f"{number}-{step - 1}",))
            elif step % 2:
                insert = f"INSERT INTO {shelf.table} (id, v) VALUES (%s, %s) IF NOT EXISTS"
                shelf.session.execute(insert, (id_, vector))
            else:
                shelf.session.execute(f"INSERT INTO {shelf.table} (id, v) VALUES (%s, %s)", (id_, vector))

    with ThreadPoolExecutor(4) as threads:
        writers = [threads.submit(write, number) for number in range(4)]
        shelf.serving(eventually)
        for writer in writers:
            writer.result()
    rows = {row["id"]: row["v"] for row in shelf.session.execute(f"SELECT id, v FROM {shelf.table}")}
    eventually(lambda: shelf.status()["count"] == len(rows), 10)
    shelf.settle()
    assert shelf.status()["count"] == len(rows)
    assert sorted(shelf.search(X, 1000)) == sorted(rows)
