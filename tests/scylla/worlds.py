"""Worlds to migrate in, on the ScyllaDB under test: each in keyspaces of its own."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.settings import StoreSettings
from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from tests.scylla.servers import Server
from tests.world import World, eventually


@contextmanager
def scylla_world(folder: Path, models: tuple[Path, Path | None], server: Server, **more: Any) -> Iterator[World]:
    """A world whose tables are on the server."""
    keyspace = f"k{uuid.uuid4().hex[:12]}"
    settings = server.settings.model_dump(mode="json", exclude_unset=True)
    # How long a sync waits for writes that are under way follows from it.
    settings |= {"request_timeout": "4s"}
    tree = settings | {"keyspace": keyspace, "catalog": settings["catalog"] | {"keyspace": f"{keyspace}_catalog"}}
    store = open_store(StoreSettings.model_validate(tree))
    store.create_keyspaces()
    store.close()
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, models, store=tree, **more)
    try:
        yield world
    finally:
        assert isinstance(world.store, CqlStore)
        for name in (keyspace, f"{keyspace}_catalog"):
            world.store.connection.define(f"DROP KEYSPACE IF EXISTS {name}", "dropping a keyspace")
        world.close()


def indexed(world: World, table: str) -> set[str]:
    """The ids that the index of a table has, whether or not their rows are still there: asked of the vector store."""
    index = world.store.index_on(table, "embedding")
    assert index is not None
    vector = np.full(index.dimension, index.dimension**-0.5).tolist()
    (address,) = world.settings.store.vector_status
    request = urllib.request.Request(
        f"{address}/api/v1/indexes/{world.settings.store.keyspace}/{index.name}/ann",
        json.dumps({"vector": vector, "limit": 1000}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return set(json.load(answer)["primary_keys"]["id"])


def assert_indexed(world: World, table: str, server: Server) -> None:
    """The index has the vectors of the table's rows and no others, and finds each row by its own vector."""
    contents = world.read(table)
    wanted = {key[0] for key, cells in contents.items() if cells.get("embedding", (None,))[0] is not None}

    def differing() -> set[str]:
        return indexed(world, table) ^ wanted

    with suppress(AssertionError):
        eventually(lambda: not differing(), deadline_s=2 * server.settled_s, every_s=0.2)
    assert differing() == set()
    described, index = world.store.describe(table), world.store.index_on(table, "embedding")
    assert index is not None
    for key in sorted(wanted):
        vector = np.array(contents[(key,)]["embedding"][0], np.float32)
        hits = world.store.search(described, index, vector, 10)
        nearest = [hit.values["id"] for hit in hits if hit.score > hits[0].score - 1e-6]
        assert key in nearest, (table, key)
