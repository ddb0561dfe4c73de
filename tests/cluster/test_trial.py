"""A trial on a real Cassandra: no write reaches it, as its own counters say."""

from __future__ import annotations

from pathlib import Path

from embedshift.stores.cql.store import CqlStore
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import World, some_articles


def writes(world: World) -> dict[str, int]:
    """The writes that the node has counted, by table of the world's keyspaces."""
    assert isinstance(world.store, CqlStore)
    keyspace = world.settings.store.keyspace
    rows = world.store.connection.rows("SELECT * FROM system_views.local_write_latency", doing="counting writes")
    ours = [row for row in rows if row["keyspace_name"] in (keyspace, f"{keyspace}_catalog")]
    return {row["table_name"]: row["count"] for row in ours}


def test_no_write_reaches_the_store(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra) as world:
        world.create_source()
        world.write("articles", *world.embedded(world.old_model(), *some_articles(60)))
        before = writes(world)
        assert before["articles"] >= 60
        found = world.step("trial", sample=20, seed=3, output=tmp_path / "trial.html")
        assert found["sample"]["drawn"] == 20
        assert writes(world) == before
