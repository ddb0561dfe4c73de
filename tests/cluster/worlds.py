"""Worlds to migrate in, on a real Cassandra: each in keyspaces of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from scripts.run_cassandra import CassandraCluster
from tests.clusters import settings_of
from tests.world import World


def store_tree(cluster: CassandraCluster, keyspace: str, *, replicas: int = 1) -> dict[str, Any]:
    """The settings of a store on a cluster, as they stand in a file."""
    replication = {"class": "SimpleStrategy", "replication_factor": replicas}
    settings = settings_of(
        cluster,
        keyspace=keyspace,
        replication=replication,
        catalog={"keyspace": f"{keyspace}_catalog", "replication": replication},
    )
    return settings.model_dump(mode="json", exclude_unset=True)


@contextmanager
def cluster_world(
    folder: Path,
    models: tuple[Path | str, Path | str | None],
    cluster: CassandraCluster,
    *,
    replicas: int = 1,
    **more: Any,
) -> Iterator[World]:
    """A world whose tables are on a cluster, its keyspaces made."""
    tree = store_tree(cluster, f"k{uuid.uuid4().hex[:12]}", replicas=replicas) | more.pop("store", {})
    from embedshift.settings import StoreSettings

    store = open_store(StoreSettings.model_validate(tree))
    store.create_keyspaces()
    store.close()
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, models, store=tree, **more)
    try:
        yield world
    finally:
        # A drop writes what every table of the node holds to its disk, and costs as much as making a hundred tables.
        if cluster.spec.use != "once":
            assert isinstance(world.store, CqlStore)
            for name in (tree["keyspace"], tree["catalog"]["keyspace"]):
                world.store.connection.define(f"DROP KEYSPACE IF EXISTS {name}", "dropping a keyspace")
        world.close()
