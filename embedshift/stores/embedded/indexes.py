"""Vector indexes: create, state, size, drop and search."""

from __future__ import annotations

import glob
import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.errors import InputError, SchemaError, StoreUnavailable
from embedshift.stores.embedded import index_catalog as catalog
from embedshift.stores.embedded.cell_sql import cell, cell_alive
from embedshift.stores.embedded.columns import to_batch, vectors
from embedshift.stores.embedded.connection import Connections
from embedshift.stores.embedded.graph import Replica, building, computed_size, load, new_graph, save
from embedshift.stores.embedded.rows import Reading, now_s
from embedshift.stores.embedded.schema import describe, last_sequence
from embedshift.stores.model import TOKEN, Hit, Index, IndexSize, IndexState, Table
from embedshift.stores.similarity import indexable, similarities

_LOOKUP_ROWS = 500


def checked(index: Index, table: Table, query: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The query as float32 of shape (dimension,).

    Raises:
        InputError: it cannot be compared with the index's vectors, or ``k`` is negative.
        SchemaError: the index belongs to another table.
    """
    if index.table.lower() != table.name.lower():
        raise SchemaError(
            f"index {index.name} belongs to table {index.table}, not to {table.name}", hint="name another"
        )
    query = np.asarray(query, np.float32)
    if query.shape != (index.dimension,):
        raise InputError(
            f"a query of shape {query.shape} cannot be compared with vectors of {index.dimension} dimensions",
            hint="embed it with the model of the index",
        )
    if not indexable(index.options.metric, query[np.newaxis])[0]:
        raise InputError(f"the query has no {index.options.metric} similarity: its vector is zero, or not finite")
    if k < 0:
        raise InputError(f"a search cannot give {k} results", hint="ask for 0 or more")
    return query


def live_rows(
    connection: sqlite3.Connection, replica: Replica, reading: Reading, query: NDArray[np.float32], k: int
) -> list[Any]:
    """At least the ``k`` nearest rows whose vector is alive; fewer if there are fewer.

    A row that has expired since it was indexed is removed from the graph when a search finds it. Each round requests
    twice as many rows, so that there are few rounds however many rows have expired.
    """
    count = k
    while True:
        numbers = replica.nearest(query, count)
        rows = [row for part in _parts(numbers) for row in _lookup(connection, replica.index, reading, part)]
        dead = set(numbers) - {row[0] for row in rows}
        replica.forget(dead)
        if not dead or len(rows) >= k:
            return rows
        count *= 2


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(numbers), _LOOKUP_ROWS):
        yield numbers[at : at + _LOOKUP_ROWS]


def _lookup(connection: sqlite3.Connection, index: Index, reading: Reading, numbers: list[int]) -> list[Any]:
    """Number, vector and requested columns of those rows whose vector is alive."""
    places = ", ".join(f":r{at}" for at in range(len(numbers)))
    statement = (
        f"SELECT row, {cell(index.column)[0]}, {reading.columns} FROM {reading.source}"
        f" WHERE row IN ({places}) AND {cell_alive(index.column)}"
    )
    parameters = {"now": now_s(), **{f"r{at}": number for at, number in enumerate(numbers)}}
    return connection.execute(statement, parameters).fetchall()


def hits(index: Index, reading: Reading, query: NDArray[np.float32], rows: list[Any]) -> list[Hit]:
    """Rows as results, nearest first, with exact scores: the graph may compare rounded vectors."""
    if not rows:
        return []
    matrix = vectors([row[1] for row in rows], index.dimension)
    scores = similarities(index.options.metric, query, matrix)
    records = to_batch(reading.schema, reading.types, [row[2:] for row in rows]).drop_columns([TOKEN]).to_pylist()
    order = np.argsort(-scores, kind="stable").tolist()
    return [Hit(float(scores[at]), records[at]) for at in order]


_LOG = logging.getLogger(__name__)
_UNSAVED_ROWS_MIN = 1000


class Indexes:
    """The vector indexes of a store: each is a USearch graph, in a file next to the database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock_file = connections.path.with_name(f"{connections.path.name}.index-lock")
        # By process: a forked child may have inherited a lock that no thread will ever release.
        self._replicas: dict[tuple[int, str], Replica] = {}
        self._opening: dict[int, threading.Lock] = {}
        connections.ensure({"embedshift_indexes": catalog.TABLE})

    def create(self, index: Index) -> None:
        """Build an index of all rows; return when it serves. The next search finds the rows written meanwhile."""
        catalog.check_options(index)
        with building(self._lock_file, wait=True):
            with self._connections.transaction() as connection:
                catalog.check_column(connection, index)
                if entry := catalog.read(connection, index.name):
                    catalog.check_same(entry.index, index)
                    if entry.status == "serving":
                        return
                # If an entry is still building although the lock was free, its builder has died.
                build = uuid.uuid4().hex
                catalog.begin(connection, index, build)
            replica = self._built(index, build)
            try:
                self._save(replica)
            except OSError as error:
                raise StoreUnavailable(
                    f"index {index.name} cannot be written next to {self._connections.path} ({error})",
                    hint="free some space, check the folder, and run the step again",
                ) from error
            self._replicas[os.getpid(), index.name] = replica

    def state(self, index: Index) -> IndexState:
        """How far the index is; ``rows`` includes the last writes of every process."""
        with self._connections.borrow() as connection:
            entry = catalog.read(connection, index.name)
        if entry is None:
            return IndexState("absent")
        if entry.status == "building":
            with building(self._lock_file, wait=False) as nobody_builds:
                if nobody_builds and self._is_building(index):
                    return IndexState("failed", reason="its build was interrupted; create it again")
            return IndexState("building")
        replica = self._replica(index)
        with replica.lock:
            self._catch_up(replica)
            return IndexState("serving", len(replica))

    def size(self, index: Index, rows: int) -> IndexSize:
        """The size of the index's file; computed if there is none."""
        with self._connections.borrow() as connection:
            entry = catalog.read(connection, index.name)
        try:
            if entry is not None and entry.file:
                written = self._connections.path.with_name(entry.file).stat().st_size
                return IndexSize(written, True, "the index file, read into memory as a whole")
        except OSError:  # another process has just written the next file
            pass
        return computed_size(index, rows)

    def drop(self, name: str) -> None:
        """Drop the index with its file; no error if there is none."""
        with self._connections.transaction() as connection:
            catalog.remove(connection, name)
        self._replicas.pop((os.getpid(), name), None)
        self._sweep(name)

    def search(
        self,
        table: Table,
        index: Index,
        query: NDArray[np.float32],
        k: int,
        values: Sequence[str],
        where: Mapping[str, Any],
    ) -> list[Hit]:
        """The nearest live rows (``contract.Store.search``)."""
        replica = self._replica(index)
        query = checked(replica.index, table, query, k)
        if k == 0:
            return []
        with replica.lock:
            self._catch_up(replica)
            with self._connections.snapshot() as connection:
                replica.catch_up(connection, last_sequence(connection, table.name))
                described = describe(connection, table.name)
                keys = {column.name for column in described.keys}
                extra = [name for name in where if name not in keys and name not in values]
                reading = Reading(described, [*values, *extra], ())
                found = self._matching(connection, replica, reading, query, k, where)
            self._save_after_many_changes(replica)
        return [Hit(hit.score, {n: v for n, v in hit.values.items() if n not in extra}) for hit in found[:k]]

    @staticmethod
    def _matching(
        connection: sqlite3.Connection,
        replica: Replica,
        reading: Reading,
        query: NDArray[np.float32],
        k: int,
        where: Mapping[str, Any],
    ) -> list[Hit]:
        """The nearest rows that meet the condition: ever more of the nearest, until enough of them do."""
        count = k
        while True:
            rows = live_rows(connection, replica, reading, query, count)
            found = hits(replica.index, reading, query, rows)
            found = [hit for hit in found if all(hit.values[name] == value for name, value in where.items())]
            if len(found) >= k or len(rows) < count:
                return found
            count *= 4

    def _built(self, index: Index, build: str) -> Replica:
        replica = Replica(index, build, new_graph(index), 0)
        self._catch_up(replica)
        return replica

    def _catch_up(self, replica: Replica) -> None:
        with self._connections.borrow() as connection:
            last = last_sequence(connection, replica.index.table)
        replica.catch_up(self._connections, last)

    def _is_building(self, index: Index) -> bool:
        with self._connections.borrow() as connection:
            entry = catalog.read(connection, index.name)
        return entry is not None and entry.status == "building"

    def _entry(self, name: str) -> catalog.Entry:
        with self._connections.borrow() as connection:
            entry = catalog.read(connection, name)
        if entry is None:
            self._replicas.pop((os.getpid(), name), None)
            raise SchemaError(f"there is no index {name}", hint="create it first")
        if entry.status != "serving":
            raise StoreUnavailable(f"index {name} is not built yet", hint="wait until it serves")
        return entry

    def _replica(self, index: Index) -> Replica:
        """This process's copy of the current build of the index, read from its file if there is none yet."""
        process = os.getpid()
        entry = self._entry(index.name)
        replica = self._replicas.get((process, index.name))
        if replica is not None and replica.build == entry.build:
            return replica
        with self._opening.setdefault(process, threading.Lock()):
            replica = self._replicas.get((process, index.name))
            if replica is None or replica.build != entry.build:
                replica = self._replicas[process, index.name] = self._opened(entry)
            return replica

    def _opened(self, entry: catalog.Entry) -> Replica:
        try:
            return self._loaded(entry)
        except OSError:
            entry = self._entry(entry.index.name)
            try:  # another process may have written the next file in between, and removed this one
                return self._loaded(entry)
            except OSError as error:
                return self._repaired(entry, error)

    def _loaded(self, entry: catalog.Entry) -> Replica:
        graph = load(entry.index, self._connections.path.with_name(entry.file), entry.checksum)
        return Replica(entry.index, entry.build, graph, entry.sequence)

    def _repaired(self, entry: catalog.Entry, error: OSError) -> Replica:
        name = entry.index.name
        _LOG.warning("the file %s of index %s cannot be used (%s): building it again", entry.file, name, error)
        replica = self._built(entry.index, entry.build)
        self._try_to_save(replica, wait=True)
        return replica

    def _save_after_many_changes(self, replica: Replica) -> None:
        """Write the graph to its file if the next process would have to apply many changes again."""
        if replica.unsaved < max(_UNSAVED_ROWS_MIN, len(replica) // 10):
            return
        self._try_to_save(replica, wait=False)

    def _try_to_save(self, replica: Replica, *, wait: bool) -> None:
        try:
            with building(self._lock_file, wait=wait) as held:
                if held:
                    self._save(replica)
        except (OSError, StoreUnavailable) as error:
            # The search can go on: without the file only the next process has more work.
            replica.unsaved = 0
            _LOG.warning("index %s cannot be written to its file: %s", replica.index.name, error)

    def _save(self, replica: Replica) -> None:
        name = replica.index.name
        path = self._connections.path
        path = path.with_name(f"{path.name}.{name}.{uuid.uuid4().hex[:16]}.usearch")
        checksum = save(replica.graph, path)
        with self._connections.transaction() as connection:
            kept = catalog.finish(
                connection, name, replica.build, file=path.name, checksum=checksum, sequence=replica.sequence
            )
        replica.unsaved = 0
        if kept:
            self._sweep(name, keep=path)
        else:
            path.unlink(missing_ok=True)

    def _sweep(self, name: str, keep: Path | None = None) -> None:
        """Remove the index's files that nothing refers to any more."""
        base = self._connections.path
        for path in base.parent.glob(f"{glob.escape(base.name)}.{name}.*.usearch*"):
            if path != keep:
                path.unlink(missing_ok=True)
