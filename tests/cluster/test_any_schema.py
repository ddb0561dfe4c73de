"""Whatever a table is made of, a copy of it holds the same: values, write times, TTLs."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

from embedshift.errors import SchemaError
from embedshift.stores.model import Table, remaining_ttl, write_time
from embedshift.tokens import WHOLE_RING

TYPES = ("CREATE TYPE IF NOT EXISTS {ks}.address (street text, zip int)",)
# Each: CREATE TABLE's body, statements that fill it. Times are microseconds.
SCHEMAS = {
    "one uuid": (
        "id uuid PRIMARY KEY, title text, body text",
        [
            "INSERT INTO {t} (id, title, body) VALUES (uuid(), 'a', 'b') USING TIMESTAMP 1000",
            "INSERT INTO {t} (id, title) VALUES (uuid(), 'only a title') USING TIMESTAMP 2000 AND TTL 5000",
            "INSERT INTO {t} (id) VALUES (uuid()) USING TIMESTAMP 3000",
        ],
    ),
    "clustering in falling order": (
        "a text, b int, c timeuuid, d text, v vector<float, 3>, PRIMARY KEY ((a, b), c, d)) "
        "WITH CLUSTERING ORDER BY (c DESC, d ASC",
        [
            "INSERT INTO {t} (a, b, c, d, v) VALUES ('x', 1, now(), 'p', [1, 2, 3]) USING TIMESTAMP 10",
            "INSERT INTO {t} (a, b, c, d, v) VALUES ('x', 1, now(), 'q', [4, 5, 6]) USING TIMESTAMP 20 AND TTL 9000",
            "INSERT INTO {t} (a, b, c, d) VALUES ('', -7, now(), '') USING TIMESTAMP 30",
        ],
    ),
    "static columns": (
        "a int, b int, s text static, s2 set<int> static, v text, PRIMARY KEY (a, b)",
        [
            "INSERT INTO {t} (a, s) VALUES (1, 'shared') USING TIMESTAMP 10",
            "INSERT INTO {t} (a, b, v) VALUES (1, 1, 'x') USING TIMESTAMP 20",
            "INSERT INTO {t} (a, b, v) VALUES (1, 2, 'y') USING TIMESTAMP 30",
            "INSERT INTO {t} (a, s, s2) VALUES (2, 'without rows', {{1, 2}}) USING TIMESTAMP 40 AND TTL 7000",
            "INSERT INTO {t} (a, b, v) VALUES (3, 1, 'no static') USING TIMESTAMP 50",
        ],
    ),
    "collections": (
        "id int PRIMARY KEY, l list<text>, s set<int>, m map<text, int>, f frozen<list<int>>, "
        "n map<text, frozen<set<int>>>",
        [
            "INSERT INTO {t} (id, l, s, m, f, n) VALUES (1, ['a', 'b'], {{1, 2}}, {{'k': 1}}, [9], {{'q': {{1}}}}) "
            "USING TIMESTAMP 10 AND TTL 8000",
            "INSERT INTO {t} (id, l) VALUES (2, ['z']) USING TIMESTAMP 20",
            "INSERT INTO {t} (id, f) VALUES (3, []) USING TIMESTAMP 30",
        ],
    ),
    "UDTs and tuples": (
        "id int PRIMARY KEY, u address, f frozen<address>, t tuple<int, text>, l list<frozen<address>>",
        [
            "INSERT INTO {t} (id, u, f, t, l) VALUES (1, {{street: 's', zip: 3}}, {{street: 't', zip: 4}}, (1, 'z'), "
            "[{{street: 'u', zip: 5}}]) USING TIMESTAMP 10",
            "INSERT INTO {t} (id, u) VALUES (2, {{street: 'half'}}) USING TIMESTAMP 20 AND TTL 6000",
        ],
    ),
    "every plain type": (
        "id blob PRIMARY KEY, a ascii, b bigint, c boolean, d date, e decimal, f double, g duration, h float, i inet, "
        "j int, k smallint, l text, m time, n timestamp, o timeuuid, p tinyint, q uuid, r varint, "
        "s vector<float, 2>, t vector<text, 2>",
        [
            "INSERT INTO {t} (id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t) VALUES (0xCAFE, 'a', 1, "
            "true, '2024-02-29', 1.50, 0.1, 1h, 0.5, '127.0.0.1', -1, 2, 'Ω', '12:30:00', 1700000000000, now(), 3, "
            "uuid(), 123456789012345678901234567890, [0.5, -1], ['x', 'yy']) USING TIMESTAMP 10 AND TTL 4000",
            "INSERT INTO {t} (id, l) VALUES (0x00, '') USING TIMESTAMP 20",
        ],
    ),
    "several write times in a row": (
        "id int PRIMARY KEY, a text, b text, c text, d text",
        [
            "INSERT INTO {t} (id, a) VALUES (1, 'old') USING TIMESTAMP 10",
            "UPDATE {t} USING TIMESTAMP 20 AND TTL 3000 SET b = 'lives shortly' WHERE id = 1",
            "UPDATE {t} USING TIMESTAMP 30 SET c = 'new' WHERE id = 1",
            "UPDATE {t} USING TIMESTAMP 40 AND TTL 5000 SET d = 'lives longer' WHERE id = 1",
            "UPDATE {t} USING TIMESTAMP 50 AND TTL 600 SET a = 'a', b = 'b' WHERE id = 2",
        ],
    ),
    "names that need quotes": (
        '"Id" int PRIMARY KEY, "Order" text, "a ""b""" text',
        ['INSERT INTO {t} ("Id", "Order", "a ""b""") VALUES (1, \'x\', \'y\') USING TIMESTAMP 10'],
    ),
}


@pytest.fixture
def make(store, settings, new_name):
    """Creates and fills a table of ``SCHEMAS``; returns it as the store describes it."""
    for statement in TYPES:
        store.connection.define(statement.format(ks=settings.keyspace), "creating a type")

    def made(schema: str) -> Table:
        name = new_name()
        body, rows = SCHEMAS[schema]
        store.connection.define(f"CREATE TABLE {settings.keyspace}.{name} ({body})", "creating a table")
        for row in rows:
            store.connection.rows(row.format(t=f"{settings.keyspace}.{name}"), doing="filling a table", profile="write")
        return store.describe(name)

    return made


def content(store, table: Table) -> pa.Table:
    names = [column.name for column in table.others]
    batches = list(store.scan(table, WHOLE_RING, values=names, times=names, batch_rows=2))
    return pa.Table.from_batches(batches)


@pytest.mark.parametrize("schema", list(SCHEMAS))
def test_a_copy_holds_the_same_values_times_and_ttls(store, make, new_name, schema):
    source = make(schema)
    store.create(Table(new_name(), source.columns))
    target = Table(new_name(), source.columns)
    store.create(target)
    assert store.describe(target.name).columns == source.columns

    began = time.monotonic()
    before = content(store, source)
    for batch in before.to_batches():
        assert store.write(target, batch) == []
    after = content(store, target)
    took = time.monotonic() - began + 1

    assert after.num_rows == before.num_rows
    ttls = {remaining_ttl(column.name) for column in source.others}
    exact = [name for name in before.column_names if name not in ttls]
    assert after.select(exact).to_pylist() == before.select(exact).to_pylist()
    for name in ttls:
        for was, left in zip(before[name].to_pylist(), after[name].to_pylist(), strict=True):
            assert (was is None) == (left is None)
            assert was is None or was - took <= left <= was


@pytest.mark.parametrize("schema", list(SCHEMAS))
def test_rows_are_fetched_as_they_are_scanned(store, make, schema):
    table = make(schema)
    names = [column.name for column in table.others]
    scanned = content(store, table)
    keys = scanned.select([column.name for column in table.keys]).combine_chunks().to_batches()[0]
    fetched = pa.Table.from_batches([store.fetch(table, keys, values=names, times=names)])
    ttls = {remaining_ttl(name) for name in names}
    exact = [name for name in scanned.column_names if name not in ttls]
    assert sorted(fetched.select(exact).to_pylist(), key=repr) == sorted(scanned.select(exact).to_pylist(), key=repr)


def test_a_collection_takes_the_greatest_of_its_elements_times(store, make, settings):
    table = make("collections")
    name = f"{settings.keyspace}.{table.name}"
    store.connection.rows(
        f"UPDATE {name} USING TIMESTAMP 99 SET l = l + ['late'] WHERE id = 2", doing="x", profile="write"
    )
    rows = {row["id"]: row for row in content(store, table).to_pylist()}
    assert rows[2][write_time("l")] == 99
    assert rows[1][write_time("l")] == 10
    assert rows[3][write_time("l")] is None


def test_a_collection_whose_element_lives_for_ever_lives_for_ever(store, make, settings):
    table = make("collections")
    name = f"{settings.keyspace}.{table.name}"
    store.connection.rows(
        f"UPDATE {name} USING TIMESTAMP 99 SET s = s + {{3}} WHERE id = 1", doing="x", profile="write"
    )
    rows = {row["id"]: row for row in content(store, table).to_pylist()}
    assert rows[1][remaining_ttl("s")] is None
    assert rows[1][remaining_ttl("l")] is not None


def test_static_cells_are_deleted_with_the_row_that_stands_for_them(store, make):
    table = make("static columns")
    keys = pa.RecordBatch.from_pydict({"a": pa.array([2], pa.int32()), "b": pa.array([None], pa.int32())})
    assert store.fetch(table, keys, values=["s"]).column("s").to_pylist() == ["without rows"]
    store.delete(table, keys, pa.array([1000], pa.int64()).to_numpy())
    assert store.fetch(table, keys, values=["s"]).num_rows == 0


def test_a_table_of_counters_is_refused_with_the_reason(store, settings, new_name):
    name = new_name()
    store.connection.define(f"CREATE TABLE {settings.keyspace}.{name} (id int PRIMARY KEY, clicks counter)", "creating")
    with pytest.raises(SchemaError, match="clicks, and counters cannot be written with a time"):
        store.describe(name)


def test_what_cql_cannot_tell_is_said(store, make):
    said = " ".join(store.remarks(make("collections")))
    assert "row marker" in said
    assert "l, m, n, s" in said
    assert "f" not in said.split("elements of")[1].split("are copied")[0]
