"""Write times of a user type's fields, which ScyllaDB tells since 2026.2; before, they are those of other columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cassandra import InvalidRequest
from cassandra.cluster import Session
from cassandra.protocol import SyntaxException

from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column, Table
from embedshift.tokens import WHOLE_RING
from tests.scylla.servers import Server
from tests.scylla.shelves import new_name
from tests.scylla.stand_in import StandIn
from tests.scylla.worlds import scylla_world
from tests.world import ARTICLE, HOUR_US, World, now_us, some_articles


@pytest.fixture
def table(session: Session) -> Iterator[str]:
    name = new_name()
    session.execute('CREATE TYPE IF NOT EXISTS "Place" (street text, "Zip" int)')
    session.execute(f'CREATE TABLE {name} (id int PRIMARY KEY, u "Place", f frozen<"Place">, m map<int, int>, t text)')
    yield name
    session.execute(f"DROP TABLE {name}")


@pytest.fixture
def opened(server: Server, session: Session) -> Iterator[Callable[[], CqlStore]]:
    """Opens stores on the session's keyspace."""
    stores = []

    def start() -> CqlStore:
        store = open_store(server.settings.model_copy(update={"keyspace": session.keyspace}))
        assert isinstance(store, CqlStore)
        stores.append(store)
        return store

    yield start
    for store in stores:
        store.close()


def times_of(store: CqlStore, table: Table) -> dict[int, tuple[Any, ...]]:
    found = {}
    for batch in store.scan(table, WHOLE_RING, values=["u"], times=["u", "m"]):
        for row in batch.to_pylist():
            found[row["id"]] = (row["writetime(u)"], row["ttl(u)"], row["writetime(m)"])
    return found


def test_the_latest_time_and_the_longest_ttl_of_the_fields_count(
    opened: Callable[[], CqlStore], session: Session, table: str
) -> None:
    store = opened()
    described = store.describe(table)
    assert described.column("u") == Column("u", '"Place"', fields=("street", "Zip"))
    assert described.column("f") == Column("f", 'frozen<"Place">')
    assert described.column("m") == Column("m", "map<int, int>", untimed=True)
    session.execute(
        f"INSERT INTO {table} (id, u, m, t) VALUES (1, {{street: 'a', \"Zip\": 1}}, {{1: 1}}, 't') USING TIMESTAMP 1000"
    )
    session.execute(f'UPDATE {table} USING TIMESTAMP 2000 SET u."Zip" = 2 WHERE id = 1')
    session.execute(f"UPDATE {table} USING TIMESTAMP 3000 AND TTL 500 SET u.street = 'b' WHERE id = 2")
    session.execute(f'UPDATE {table} USING TIMESTAMP 2500 AND TTL 9000 SET u."Zip" = 2 WHERE id = 2')
    session.execute(f"INSERT INTO {table} (id, t) VALUES (3, 't') USING TIMESTAMP 4000")
    session.execute(f"UPDATE {table} USING TIMESTAMP 5000 AND TTL 500 SET u.street = 'b' WHERE id = 4")
    session.execute(f'UPDATE {table} USING TIMESTAMP 4000 SET u."Zip" = 2 WHERE id = 4')
    found = times_of(store, described)
    assert [found[id_] for id_ in (1, 3, 4)] == [(2000, None, 1000), (None, None, None), (5000, None, None)]
    at, ttl, _ = found[2]
    assert at == 3000
    assert 8900 < ttl <= 9000


def test_a_server_of_before_is_asked_once(
    opened: Callable[[], CqlStore], session: Session, table: str, stand_in: StandIn
) -> None:
    stand_in.set_version("2026.1.4")
    with pytest.raises(SyntaxException):
        session.execute(f"SELECT writetime(u.street) FROM {table}")
    store = opened()
    session.execute(f"INSERT INTO {table} (id, u, t) VALUES (1, {{street: 'a'}}, 't') USING TIMESTAMP 1000")
    session.execute(f"UPDATE {table} USING TIMESTAMP 2000 SET u.street = 'b' WHERE id = 1")
    described = store.describe(table)
    assert described.column("u") == Column("u", '"Place"', untimed=True)
    assert times_of(store, described)[1] == (1000, None, None)
    assert any("does not tell when m, u were written" in line for line in store.remarks(described))
    stand_in.set_version("2026.2.2")
    assert store.describe(table) == described
    newer = opened().describe(table)
    assert [line for line in store.remarks(newer) if line.startswith("the elements of u are copied")]
    with pytest.raises(InvalidRequest):
        session.execute(f"SELECT maxwritetime(u) FROM {table}")


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, server: Server) -> Iterator[World]:
    columns = (*ARTICLE, Column("place", "place"))
    with scylla_world(tmp_path / "world", (old_model, new_model), server, columns=columns) as world:
        assert isinstance(world.store, CqlStore)
        keyspace = world.settings.store.keyspace
        world.store.connection.define(f"CREATE TYPE {keyspace}.place (street text, zip int)", "making a type")
        world.create_source(world.embedded(world.old_model(), *some_articles(4, now_us() - HOUR_US)), before_index=True)
        yield world


def test_a_field_that_changes_alone_is_carried_with_its_own_time(world: World) -> None:
    """Invariant 1, of a cell that no other column's time tells of."""
    with closing(open_store(world.settings.store)) as store:
        assert isinstance(store, CqlStore)
        keyspace = world.settings.store.keyspace

        def change(table: str, at_us: int, assignment: str) -> None:
            update = f"UPDATE {keyspace}.{table} USING TIMESTAMP {at_us} SET {assignment} WHERE id = 'a001'"
            store.connection.rows(update, doing="changing a row", profile="write")

        change("articles", now_us(), "place = {street: 'old', zip: 1}")
        world.step("prepare")
        world.carry("by hand")
        world.assert_same()
        later = now_us()
        change("articles", later, "place.zip = 2")
        counts = world.carry("sync/1", read_back=True)
        assert counts.written == 1
        assert world.read("articles_v2")[("a001",)]["place"][1] == later
        world.assert_same()
        assert world.carry("sync/2", read_back=True).written == 0
        # A whole value that takes the place of another is such a change too.
        change("articles", now_us(), "place = {zip: 3}")
        assert world.carry("sync/3", read_back=True).written == 1
        world.assert_same()
