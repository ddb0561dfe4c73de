"""Cassandra's driver as its documentation shows it, without any code of this project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

from tests.world import World


@contextmanager
def session_of(world: World) -> Iterator[Session]:
    """A session in the keyspace of a world, closed at the end of the block."""
    store = world.settings.store
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=store.local_dc))
    cluster = Cluster(
        list(store.hosts),
        port=store.port,
        protocol_version=4,
        execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=policy, request_timeout=60)},
        compression=False,
    )
    try:
        yield cluster.connect(store.keyspace)
    finally:
        cluster.shutdown()


def paged(session: Session, table: str, cells: Sequence[str]) -> int:
    """Read these cells of a whole table page by page, with the driver's own page size. Returns the number of rows."""
    rows: Any = session.execute(session.prepare(f"SELECT {', '.join(cells)} FROM {table}"))
    return sum(1 for _ in rows)
