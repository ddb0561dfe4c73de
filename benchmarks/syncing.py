"""A pass of sync that finds nothing, compared with a bare loop that reads the same columns and hashes the texts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import xxhash
from cassandra.cluster import Cluster
from cassandra.query import tuple_factory

from benchmarks.children import Work, children
from benchmarks.corpus import log_normal
from benchmarks.migrating import carried, cores, cut, prepared
from benchmarks.pairs import Result, in_pairs, results_of
from benchmarks.scenes import StoreName, fill, scene
from embedshift.embedding import DIGEST
from embedshift.tokens import WHOLE_RING

_RANGES = 8  # per core
_TEXT, _MADE = ("title", "content"), ("embedding", DIGEST)


def measure(*, quick: bool) -> list[Result]:
    """Both tables have digests, and nothing differs."""
    sizes: tuple[tuple[StoreName, int], ...] = (
        ("embedded", 5_000 if quick else 200_000),
        ("Cassandra", 60_000),
    )
    chosen = sizes[:1] if quick else sizes
    return results_of(partial(_measured, store, rows, 1 if quick else 5) for store, rows in chosen)


def _measured(store: StoreName, rows: int, pairs: int) -> Result:
    parts = [(part.start, part.end) for part in WHOLE_RING.split(cores())]
    with scene(store, **cut(_RANGES)) as world:
        fill(world, log_normal(rows))
        with prepared(world) as spark:
            carried(world, spark, "load")

            def ours() -> float:
                done, seconds = carried(world, spark, "sync")
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
        "a loop that reads the same columns of both tables and hashes the texts, one process per core",
        "rows/s",
        rates,
        others,
        0.8,
        note=f"{rows:,} rows in {_RANGES * cores()} ranges; a row is a row of the source and its copy",
    )


def _of_sqlite(path: str, start: int, end: int) -> Work:
    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)
    cells = ", ".join(f"`{form}:{name}`" for name in _TEXT for form in ("w", "e"))
    texts = ", ".join(f"`v:{name}`" for name in _TEXT)
    made = ", ".join(f"`{form}:{name}`" for name in _MADE for form in ("w", "e"))
    where = "WHERE token > ? AND token <= ? ORDER BY token"
    source = f"SELECT `k:id`, {texts}, token, {cells} FROM `rows:articles` {where}"
    target = f"SELECT `k:id`, `v:{DIGEST}`, token, {cells}, {made} FROM `rows:articles_v2` {where}"

    def work() -> int:
        return _hashed(connection.execute(source, (start, end)), connection.execute(target, (start, end)))

    return work


def _of_cassandra(host: str, port: int, keyspace: str, start: int, end: int) -> Work:
    session = Cluster([host], port=port, protocol_version=4).connect(keyspace)
    session.row_factory = tuple_factory
    cells = ", ".join(f"{form}({name})" for name in _TEXT for form in ("writetime", "ttl"))
    made = ", ".join(f"{form}({name})" for name in _MADE for form in ("writetime", "ttl"))
    where = "WHERE token(id) > ? AND token(id) <= ?"
    source = session.prepare(f"SELECT id, {', '.join(_TEXT)}, token(id), {cells} FROM articles {where}")
    target = session.prepare(f"SELECT id, {DIGEST}, token(id), {cells}, {made} FROM articles_v2 {where}")
    return lambda: _hashed(session.execute(source, (start, end)), session.execute(target, (start, end)))


def _hashed(source: Iterable[tuple[Any, ...]], target: Iterable[tuple[Any, ...]]) -> int:
    """Hash the texts and look up the digests; nothing is compared, and nothing of a migration is known."""
    digests = {row[0]: row[1] for row in target}
    found = 0
    for key, title, content, *_ in source:
        found += xxhash.xxh3_128_digest(f"{title}. {content}".encode()) != digests[key][:16]
    return found
