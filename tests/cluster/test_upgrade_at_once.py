"""A second upgrade beside one that is at work, on a real Cassandra: refused in one line that names the owner."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from embedshift.catalog.actor import shown
from embedshift.catalog.lease import held
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import some_articles


def test_a_second_upgrade_is_refused_and_names_the_owner(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra, load={"precision": "float32"}) as world:
        world.create_source(some_articles(6))
        world.step("prepare", upgrade=True)
        with held(world.store, world.migration, timedelta(minutes=5)):
            owner = shown(world.migration.owner)
            second = world.command("upgrade", "--json", "--to-model", str(new_model))

        assert second.returncode == 4, second.stderr
        assert json.loads(second.stdout)["outcome"] == "refused"
        (line,) = [each for each in second.stderr.splitlines() if each.startswith("embedshift: ")]
        assert line.startswith(f"embedshift: migration articles-to-articles_v2 is owned by {owner} since ")
        assert (world.migration.state, world.migration.owner) == ("prepared", "")
