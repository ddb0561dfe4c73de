"""One index of the vector store: its vectors, and how it follows the log of its table."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cassandra.cluster import Session
from numpy.typing import NDArray

from tests.scylla.catalog import quoted
from tests.scylla.logged import (
    INSERT,
    PARTITION_DELETE,
    ROW_DELETE,
    SERVICE_PARTITION_DELETE,
    SERVICE_ROW_DELETE,
    UPDATE,
)
from tests.scylla.times import least, time_us

#: Readers of a new index begin so long before it [vector-store db_cdc/actor.rs: CHECKPOINT_TIMESTAMP_OFFSET].
_BEFORE_US = 600_000_000
#: The server's own deletions of expired rows are such too.
_DELETIONS = frozenset({ROW_DELETE, PARTITION_DELETE, SERVICE_ROW_DELETE, SERVICE_PARTITION_DELETE})
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Reader:
    """How a reader follows the log: so far behind now, once in so many seconds."""

    lag_s: float
    poll_s: float


#: Quick and slow (SCYLLADB.md, first table) [vector-store db_cdc/actor.rs].
FAST, SLOW = Reader(0.1, 0.1), Reader(30.0, 10.0)


@dataclass
class Followed:
    """A vector index as the vector store keeps it.

    Args:
        keyspace: of the index.
        name: of the index.
        table: the table.
        column: its vectors.
        version: which creation of the index this is.
        metric: cosine, euclidean or dot_product.
        keys: the columns of the primary key.
        streams: of the table's log.
        rereads: whether the vector of a row that the log names is read from the table, as vector stores since 2026-07
            do; else it is the log's own.
        filtering: further columns, which searches may have conditions on.
    """

    keyspace: str
    name: str
    table: str
    column: str
    version: uuid.UUID
    metric: str
    keys: tuple[str, ...]
    streams: tuple[bytes, ...]
    rereads: bool = False
    filtering: tuple[str, ...] = ()
    status: str = "INITIALIZING"
    progress: float = 0.0
    _positions: dict[Reader, int] = field(default_factory=dict)
    _due: dict[Reader, float] = field(default_factory=dict)
    _vectors: dict[Key, NDArray[np.float32]] = field(default_factory=dict)
    #: The write time of each key's latest event, of its deletion too.
    _times: dict[Key, int] = field(default_factory=dict)
    _others: dict[Key, dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        return len(self._vectors)

    def scan(self, session: Session) -> None:
        """Take in the whole table, whatever its write times [vector-store: full scan]."""
        self.status = "BOOTSTRAPPING"
        column = quoted(self.column)
        names = ", ".join(quoted(name) for name in self.keys)
        path = f"{quoted(self.keyspace)}.{quoted(self.table)}"
        more = "".join(f", {quoted(name)}" for name in self.filtering)
        for row in session.execute(f"SELECT {names}, {column} AS vector, writetime({column}) AS at{more} FROM {path}"):
            key = tuple(row[name] for name in self.keys)
            self._others.setdefault(key, {}).update({name: row[name] for name in self.filtering})
            if row["vector"] is not None:
                self._put(key, row["at"], row["vector"])
        self.status, self.progress = "SERVING", 100.0

    def follow(self, session: Session, readers: tuple[Reader, ...], now: float) -> None:
        """Let each reader that is due read on.

        Positions only move forward, by write time: what is written behind both is never read
        (SCYLLADB.md, first table).
        """
        for reader in readers:
            if now < self._due.get(reader, 0.0):
                continue
            after = self._positions.get(reader, int(now * 1e6) - _BEFORE_US)
            until = int((now - reader.lag_s) * 1e6)
            if until > after:
                self._read(session, after, until)
                self._positions[reader] = until
            self._due[reader] = now + reader.poll_s

    def position(self, reader: Reader) -> int:
        """The write time, in microseconds, up to which a reader has read; 0 before its first look."""
        return self._positions.get(reader, 0)

    def value(self, key: Key, name: str) -> Any:
        """What a row has in a column of the key, or in a filtering column."""
        return key[self.keys.index(name)] if name in self.keys else self._others.get(key, {}).get(name)

    def nearest(
        self, vector: list[float], limit: int, meets: Callable[[Key], bool] = lambda _: True
    ) -> list[tuple[Key, float]]:
        """The keys of the nearest vectors that meet a condition, and their distances, by exact search."""
        with self._lock:
            keys = [key for key in self._vectors if meets(key)]
            vectors = [self._vectors[key] for key in keys]
        if not keys:
            return []
        matrix, query = np.stack(vectors).astype(np.float64), np.asarray(vector, np.float64)
        inner = matrix @ query
        if self.metric == "euclidean":
            distances = ((matrix - query) ** 2).sum(axis=1)
        elif self.metric == "dot_product":
            distances = 1 - inner
        else:
            lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
            distances = 1 - np.divide(inner, lengths, out=np.zeros_like(inner), where=lengths > 0)
        order = np.argsort(distances, kind="stable")[:limit]
        return [(keys[at], float(distances[at])) for at in order]

    def _read(self, session: Session, after_us: int, until_us: int) -> None:
        """Take in the log's rows of write times after one moment and until another."""
        log = f"{quoted(self.keyspace)}.{quoted(self.table + '_scylla_cdc_log')}"
        streams = ", ".join(f"0x{stream.hex()}" for stream in self.streams)
        query = (
            f'SELECT * FROM {log} WHERE "cdc$stream_id" IN ({streams}) '
            f'AND "cdc$time" >= {least(after_us + 1)} AND "cdc$time" < {least(until_us + 1)}'
        )
        for row in session.execute(query):
            self._take(session, row)

    def _take(self, session: Session, row: Mapping[str, Any]) -> None:
        """One row of the log [vector-store db_cdc/consumer.rs].

        One that names no whole key is skipped, and so is the end of a range of deleted rows: their keys stay.
        """
        key = tuple(row[name] for name in self.keys)
        if None in key:
            return
        at = time_us(row["cdc$time"])
        operation, vector = row["cdc$operation"], row[self.column]
        if operation in _DELETIONS:
            self._remove(key, at)
        elif operation in (UPDATE, INSERT) and self.rereads:
            self._reread(session, key, at)
        elif operation in (UPDATE, INSERT):
            others = self._others.setdefault(key, {})
            for name in self.filtering:
                if row[name] is not None or row[f"cdc$deleted_{name}"]:
                    others[name] = row[name]
            if vector is not None:
                self._put(key, at, vector)
            elif row[f"cdc$deleted_{self.column}"]:
                self._remove(key, at)

    def _reread(self, session: Session, key: Key, at: int) -> None:
        """Take in what the row has now, whichever of its columns was written."""
        where = " AND ".join(f"{quoted(name)} = %s" for name in self.keys)
        path, column = f"{quoted(self.keyspace)}.{quoted(self.table)}", quoted(self.column)
        row = session.execute(
            f"SELECT {column} AS vector, writetime({column}) AS at FROM {path} WHERE {where}", key
        ).one()
        if row is None or row["vector"] is None:
            self._remove(key, at)
        else:
            self._put(key, row["at"], row["vector"])

    def _put(self, key: Key, at: int, vector: list[float]) -> None:
        with self._lock:
            if at >= self._times.get(key, at) and (key in self._vectors or at != self._times.get(key)):
                self._times[key], self._vectors[key] = at, np.asarray(vector, np.float32)

    def _remove(self, key: Key, at: int) -> None:
        with self._lock:
            if at >= self._times.get(key, at):
                self._times[key] = at
                self._vectors.pop(key, None)
