"""Compare-and-set between processes: one wins, nobody's update is lost."""

from __future__ import annotations

import multiprocessing
from contextlib import closing

import pytest

from embedshift.errors import SchemaError
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.records import RecordTable

ALIAS = RecordTable(
    "embedding_race", ("alias",), columns={"alias": "text", "owner": "text", "version": "bigint", "ready": "boolean"}
)
ROUNDS = 25
PROCESSES = 2
spawn = multiprocessing.get_context("spawn")


def claim(settings, start, name, answers):
    """Inserts one row a round, at the same moment as the others."""
    with closing(CqlStore.open(settings)) as store:
        won = []
        for turn in range(ROUNDS):
            start.wait()
            won.append(store.records.insert(ALIAS, {"alias": f"round {turn}", "owner": name, "version": 1}))
        answers.put((name, won))


def count(settings, start, name, answers):
    """Adds to one row by compare-and-set, as often as there are rounds."""
    with closing(CqlStore.open(settings)) as store:
        start.wait()
        for _ in range(ROUNDS):
            while True:
                row = store.records.get(ALIAS, {"alias": "counter"})
                changes = {"version": row["version"] + 1, "owner": name}
                if store.records.update_if(ALIAS, {"alias": "counter"}, changes, {"version": row["version"]}):
                    break
        answers.put((name, True))


def together(work, settings):
    start, answers = spawn.Barrier(PROCESSES, timeout=60), spawn.Queue()
    processes = [
        spawn.Process(target=work, args=(settings, start, f"process {number}", answers)) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return found


@pytest.fixture
def records(store):
    store.records.ensure([ALIAS])
    store.records.ensure([ALIAS])
    return store.records


def test_of_two_processes_exactly_one_inserts(settings, records):
    answers = together(claim, settings)
    for turn in range(ROUNDS):
        winners = [name for name, won in answers.items() if won[turn]]
        assert len(winners) == 1
        assert records.get(ALIAS, {"alias": f"round {turn}"})["owner"] == winners[0]


def test_no_update_of_two_processes_is_lost(settings, records):
    records.put(ALIAS, [{"alias": "counter", "version": 0}])
    together(count, settings)
    assert records.get(ALIAS, {"alias": "counter"})["version"] == ROUNDS * PROCESSES


def test_the_catalog_lies_in_its_own_keyspace_under_names_of_its_own(settings, store, records):
    records.ensure([RecordTable("race_extra", ("a",), ("b",), {"a": "text", "b": "bigint", "c": "double"})])
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?"
    found = store.connection.rows(query, (settings.catalog.keyspace,), doing="looking")
    names = {row["table_name"] for row in found}
    assert {"embedding_race", "embedshift_race_extra"} <= names


def test_a_catalog_without_a_keyspace_says_how_to_make_one(cassandra, settings):
    nowhere = settings.model_copy(update={"catalog": settings.catalog.model_copy(update={"keyspace": "not_there"})})
    with closing(CqlStore.open(nowhere)) as store, pytest.raises(SchemaError, match="embedshift schema apply"):
        store.records.ensure([ALIAS])
