"""Vector indexes: their life from create to drop, and the search."""

from __future__ import annotations

import glob
import logging
import os
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.errors import SchemaError, StoreUnavailable
from jobs.stores.contract import Hit, Index, IndexSize, IndexState, Table
from jobs.stores.embedded import index_catalog as catalog
from jobs.stores.embedded.connection import Connections
from jobs.stores.embedded.index_file import building, load, new_graph, save, size_of
from jobs.stores.embedded.nearest import checked, hits, live_rows
from jobs.stores.embedded.replica import Replica
from jobs.stores.embedded.rows import Reading
from jobs.stores.embedded.schema import describe, last_sequence

_LOG = logging.getLogger(__name__)
_UNSAVED_ROWS_MIN = 1000


class Indexes:
    """The vector indexes of a store: a USearch graph each, in a file beside the database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock_file = connections.path.with_name(f"{connections.path.name}.index-lock")
        # By process: a forked child may have inherited a lock that nobody will ever release.
        self._replicas: dict[tuple[int, str], Replica] = {}
        self._opening: dict[int, threading.Lock] = {}
        connections.ensure({"embedshift_indexes": catalog.TABLE})

    def create(self, index: Index) -> None:
        """Build an index of all rows; returns when it serves. Rows written meanwhile are found by the next search."""
        catalog.check_options(index)
        with building(self._lock_file, wait=True):
            with self._connections.transaction() as connection:
                catalog.check_column(connection, index)
                if entry := catalog.read(connection, index.name):
                    catalog.check_same(entry.index, index)
                    if entry.status == "serving":
                        return
                # An entry that is still building although the lock was free is one whose builder died.
                build = uuid.uuid4().hex
                catalog.begin(connection, index, build)
            replica = self._built(index, build)
            try:
                self._save(replica)
            except OSError as error:
                raise StoreUnavailable(
                    f"index {index.name} cannot be written beside {self._connections.path} ({error})",
                    hint="free some space, check the folder, and run the step again",
                ) from error
            self._replicas[os.getpid(), index.name] = replica

    def state(self, index: Index) -> IndexState:
        """How far the index is; ``rows`` counts the last writes of every process."""
        with self._connections.borrow() as connection:
            entry = catalog.read(connection, index.name)
        if entry is None:
            return IndexState("absent")
        if entry.status == "building":
            with building(self._lock_file, wait=False) as nobody_builds:
                if nobody_builds and self._is_building(index):
                    return IndexState("failed", reason="its build was broken off; create it again")
            return IndexState("building")
        replica = self._replica(index)
        with replica.lock:
            self._catch_up(replica)
            return IndexState("serving", len(replica))

    def size(self, index: Index, rows: int) -> IndexSize:
        """Of the index's file, which is read into memory as a whole; by the graph's layout where there is none."""
        with self._connections.borrow() as connection:
            entry = catalog.read(connection, index.name)
        try:
            if entry is not None and entry.file:
                written = self._connections.path.with_name(entry.file).stat().st_size
                return IndexSize(written, True, "the index file, read into memory as a whole")
        except OSError:  # another process has just written the next file
            pass
        return IndexSize(size_of(index, rows), False, "USearch's layout of vectors, edges and levels")

    def drop(self, name: str) -> None:
        """Drop the index with its file; no error where it is gone already."""
        with self._connections.transaction() as connection:
            catalog.remove(connection, name)
        self._replicas.pop((os.getpid(), name), None)
        self._sweep(name)

    def search(
        self, table: Table, index: Index, query: NDArray[np.float32], k: int, values: Sequence[str]
    ) -> list[Hit]:
        """The nearest live rows; see ``Store.search``."""
        replica = self._replica(index)
        query = checked(replica.index, table, query, k)
        if k == 0:
            return []
        with replica.lock:
            self._catch_up(replica)
            with self._connections.snapshot() as connection:
                replica.catch_up(connection, last_sequence(connection, table.name))
                reading = Reading(describe(connection, table.name), values, ())
                rows = live_rows(connection, replica, reading, query, k)
            self._save_after_many_changes(replica)
        return hits(replica.index, reading, query, rows)[:k]

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
        """This process's copy of the index as it stands now, read from its file where there is none yet."""
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
        """Write the graph back when starting from the file would mean applying many changes again."""
        if replica.unsaved < max(_UNSAVED_ROWS_MIN, len(replica) // 10):
            return
        self._try_to_save(replica, wait=False)

    def _try_to_save(self, replica: Replica, *, wait: bool) -> None:
        try:
            with building(self._lock_file, wait=wait) as held:
                if held:
                    self._save(replica)
        except (OSError, StoreUnavailable) as error:
            # The search can go on: the file only spares the next process some work.
            replica.unsaved = 0
            _LOG.warning("index %s cannot be written back: %s", replica.index.name, error)

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
