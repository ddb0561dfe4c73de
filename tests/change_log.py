"""A change log as ScyllaDB's CDC keeps one, where there is no ScyllaDB: a table of its columns beside the articles."""

from __future__ import annotations

import time
from uuid import UUID

from cassandra.util import uuid_from_time

from tests.world import World


def make_log(world: World) -> None:
    keyspace = world.settings.store.keyspace
    world.store.connection.define(
        f'CREATE TABLE {keyspace}.articles_scylla_cdc_log ("cdc$stream_id" blob, "cdc$time" timeuuid, '
        '"cdc$batch_seq_no" int, "cdc$operation" tinyint, "cdc$ttl" bigint, "cdc$end_of_batch" boolean, '
        'id text, title text, content text, PRIMARY KEY ("cdc$stream_id", "cdc$time", "cdc$batch_seq_no"))',
        "making a change log",
    )


def log(world: World, id_: str, *, stream: bytes = b"s1", at: float | None = None) -> UUID:
    moment = uuid_from_time(at or time.time())
    keyspace = world.settings.store.keyspace
    world.store.connection.rows(
        f'INSERT INTO {keyspace}.articles_scylla_cdc_log ("cdc$stream_id", "cdc$time", "cdc$batch_seq_no", '
        '"cdc$operation", id) VALUES (?, ?, 0, 1, ?)',
        (stream, moment, id_),
        doing="writing to a change log",
        profile="write",
    )
    return moment
