"""One session for many threads, and another after a fork."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pyarrow as pa
import pytest

from embedshift.errors import StoreUnavailable
from embedshift.stores.cql import read as scan
from embedshift.stores.cql.session import SCAN
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column, Table, write_time
from embedshift.stores.records import RecordTable
from embedshift.tokens import WHOLE_RING
from tests.cluster.conftest import settings_of


@pytest.fixture
def table(store, new_name) -> Table:
    made = Table(new_name(), (Column("id", "int", "partition"), Column("v", "text")))
    store.create(made)
    store.write(made, batch(range(500)))
    return made


def batch(ids: range) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int32()),
            "v": pa.array([f"value {at}" for at in ids]),
            write_time("v"): pa.array([10] * len(ids), pa.int64()),
        }
    )


def read(store: CqlStore, table: Table) -> int:
    return sum(found.num_rows for found in store.scan(table, WHOLE_RING, values=["v"], batch_rows=50))


def test_threads_share_a_store(store, table):
    with ThreadPoolExecutor(8) as pool:
        written = [pool.submit(store.write, table, batch(range(at * 100, at * 100 + 200))) for at in range(8)]
        counted = [pool.submit(read, store, table) for _ in range(8)]
        assert all(future.result() == [] for future in written)
        assert all(future.result() >= 500 for future in counted)
    assert read(store, table) == 900


def read_in_child(store: CqlStore, table: Table, answers) -> None:
    answers.put(read(store, table))
    store.close()


def test_a_forked_child_opens_a_session_of_its_own(store, table):
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    child = fork.Process(target=read_in_child, args=(store, table, answers))
    child.start()
    assert answers.get(timeout=60) == 500
    child.join(60)
    assert child.exitcode == 0
    assert read(store, table) == 500


def test_a_store_opens_again_after_close(settings, table):
    store = CqlStore.open(settings)
    store.close()
    store.close()
    with closing(store):
        assert read(store, table) == 500


def test_the_next_page_is_asked_for_before_the_caller_is_done(store, table, monkeypatch):
    session, asked = store.connection.session, []
    ask = session.execute_async

    def count(statement, **options):
        if options.get("execution_profile") == SCAN:
            asked.append(options["paging_state"])
        return ask(statement, **options)

    monkeypatch.setattr(session, "execute_async", count)
    batches = store.scan(table, WHOLE_RING, batch_rows=100)
    next(batches)
    assert len(asked) == 2
    next(batches)
    assert len(asked) == 3


def test_a_page_that_times_out_is_asked_for_in_smaller_pieces(store, table, monkeypatch):
    session, sizes = store.connection.session, []
    ask = session.execute_async

    def stumble(statement, **options):
        sizes.append(statement.fetch_size)
        return ask(statement, **options, timeout=1e-9 if len(sizes) in (2, 3) else 10)

    monkeypatch.setattr(session, "execute_async", stumble)
    monkeypatch.setattr(scan.time, "sleep", lambda seconds: None)
    seen = [key for found in store.scan(table, WHOLE_RING, batch_rows=64) for key in found.column("id").to_pylist()]
    assert sorted(seen) == list(range(500))
    assert sizes[:4] == [64, 64, 32, 16]


def test_a_range_that_never_comes_is_given_up_with_its_bounds(store, table, monkeypatch):
    session = store.connection.session
    ask = session.execute_async
    monkeypatch.setattr(session, "execute_async", lambda statement, **options: ask(statement, **options, timeout=1e-9))
    monkeypatch.setattr(scan.time, "sleep", lambda seconds: None)
    with pytest.raises(
        StoreUnavailable, match=r"the range \(-9223372036854775808, 9223372036854775807\] of t\w+ cannot"
    ):
        list(store.scan(table, WHOLE_RING))


def test_a_compare_and_set_whose_answer_is_lost_is_decided_by_reading(store, monkeypatch, new_name):
    table = RecordTable(new_name(), ("name",), columns={"name": "text", "owner": "text", "n": "bigint"})
    store.records.ensure([table])
    session = store.connection.session
    execute, lost = session.execute, []

    def lose_answers(statement, *args, **options):
        answer = execute(statement, *args, **options)
        text = statement.prepared_statement.query_string if hasattr(statement, "prepared_statement") else ""
        if " IF " in text and len(lost) < 1:
            lost.append(text)
            from cassandra import OperationTimedOut

            raise OperationTimedOut()
        return answer

    monkeypatch.setattr(session, "execute", lose_answers)
    assert store.records.insert(table, {"name": "a", "owner": "me", "n": 1}) is True
    assert len(lost) == 1
    lost.clear()
    assert store.records.insert(table, {"name": "a", "owner": "another", "n": 1}) is False
    lost.clear()
    assert store.records.update_if(table, {"name": "a"}, {"n": 2}, {"n": 1, "owner": "me"}) is True
    assert store.records.get(table, {"name": "a"}) == {"name": "a", "owner": "me", "n": 2}
    lost.clear()
    assert store.records.update_if(table, {"name": "a"}, {"n": 9}, {"n": 1}) is False
    assert len(lost) == 1


def test_keyspaces_are_made_once(cassandra, new_name):
    name = new_name()
    settings = settings_of(cassandra, keyspace=name, catalog={"keyspace": f"{name}_catalog"})
    with closing(CqlStore.open(settings)) as store:
        assert store.create_keyspaces() == [name, f"{name}_catalog"]
        assert store.create_keyspaces() == []
        store.create(Table("articles", (Column("id", "uuid", "partition"),)))
        assert store.exists("articles")
