"""A pass of sync that finds nothing, compared with a bare scan of both tables' ids and digests on the same cores."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from cassandra.cluster import Cluster

from benchmarks.children import Work, children
from benchmarks.corpus import log_normal
from benchmarks.migrating import carried, cores, cut, prepared
from benchmarks.pairs import LeftOut, Result, in_pairs
from benchmarks.scenes import StoreName, fill, scene
from embedshift.tokens import WHOLE_RING

_RANGES = 8  # per core
_TABLES = ("articles", "articles_v2")


def measure(*, quick: bool) -> list[Result]:
    """Both tables have digests, and nothing differs."""
    sizes: tuple[tuple[StoreName, int], ...] = (
        ("embedded", 5_000 if quick else 200_000),
        ("Cassandra", 60_000),
    )
    results = []
    for store, rows in sizes[:1] if quick else sizes:
        try:
            results.append(_measured(store, rows, 1 if quick else 5))
        except LeftOut:
            if not results:
                raise
    return results


def _measured(store: StoreName, rows: int, pairs: int) -> Result:
    parts = [(part.start, part.end) for part in WHOLE_RING.split(cores())]
    with scene(store, **cut(_RANGES)) as world:
        fill(world, log_normal(rows))
        with prepared(world) as session:
            carried(world, session, "load")

            def ours() -> float:
                done, seconds = carried(world, session, "sync")
                return done / seconds

            cql = world.settings.store
            arguments = [
                (str(cql.path), *part) if store == "embedded" else (cql.hosts[0], cql.port, cql.keyspace, *part)
                for part in parts
            ]
            with children(_of_sqlite if store == "embedded" else _of_cassandra, arguments) as bare:
                rates, others = in_pairs(ours, lambda: rows / bare.ask()[0], pairs)
    return Result(
        f"sync that finds nothing, {store}",
        "a bare scan of both tables' ids and digests, one process per core",
        "rows/s",
        rates,
        others,
        0.8,
        note=f"{rows:,} rows in {_RANGES * cores()} ranges; a row is a row of the source and its copy",
    )


def _of_sqlite(path: str, start: int, end: int) -> Work:
    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)
    scan = "SELECT `k:id`, `v:embedding_digest` FROM `rows:{}` WHERE token > ? AND token <= ? ORDER BY token"
    return lambda: sum(len(connection.execute(scan.format(table), (start, end)).fetchall()) for table in _TABLES)


def _of_cassandra(host: str, port: int, keyspace: str, start: int, end: int) -> Work:
    session = Cluster([host], port=port, protocol_version=4).connect(keyspace)
    scan = "SELECT id, embedding_digest FROM {} WHERE token(id) > ? AND token(id) <= ?"
    prepared_scans = [session.prepare(scan.format(table)) for table in _TABLES]
    return lambda: sum(1 for each in prepared_scans for _ in session.execute(each, (start, end)))
