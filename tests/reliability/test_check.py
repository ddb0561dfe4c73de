"""The checker finds what it is there to find: each kind of damage, made by hand, is counted once."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.check import check, main
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import now_us, some_articles


def test_every_kind_of_damage_is_counted_and_nothing_else(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, capsys
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra, load={"ranges": 1}) as world:
        rows = some_articles(12)
        rows[5]["title"] = (*rows[5]["title"], 5000)
        rows[6]["content"], rows[6]["title"] = (" ", rows[6]["content"][1]), ("", rows[6]["title"][1])
        world.create_source(rows)
        world.step("prepare")
        world.carry()
        assert check(world.tree).clean
        assert main(["--config", str(world.config)]) == 0
        assert "rows compared                       12" in capsys.readouterr().out

        target = world.read("articles_v2")
        digest, vector = target["a001",]["embedding_digest"][0], target["a001",]["embedding"][0]
        later = now_us()
        world.delete("articles_v2", {"id": "a000"})
        world.write("articles_v2", {"id": "stray", "title": ("new", later)})
        world.write("articles_v2", {"id": "a002", "title": (target["a002",]["title"][0], later)})
        world.write("articles_v2", {"id": "a003", "embedding_digest": (digest, later)})
        world.write("articles_v2", {"id": "a004", "embedding": (vector, later)})
        title = target["a005",]["title"]
        world.write("articles_v2", {"id": "a005", "title": (title[0], title[1], 9000)})
        world.write("articles_v2", {"id": "a006", "embedding": (vector, later)})
        found = check(world.tree)
        # The words stay the same, and so does the digest.
        assert (found.rows, found.lost, found.orphans, found.columns) == (12, 1, 1, 0), found.table()
        assert (found.times, found.ttls, found.digests) == (1, 1, 1), found.table()
        # One of another text, one of no text, and the stray, which has none at all.
        assert (found.vectors, found.vectors_compared) == (3, 12), found.table()

        world.write("articles_v2", {"id": "a007", "content": ("changed", later)})
        assert main(["--config", str(world.config), "--json"]) == 1
        said = json.loads(capsys.readouterr().out)
        assert (said["clean"], said["columns"], len(said["examples"])) == (False, 1, 5)
        # The other way round, what was lost is the stray, and what was stray is the lost one.
        back = check(world.tree, back=True)
        assert (back.rows, back.lost, back.orphans) == (12, 1, 1)


def test_a_migration_that_is_not_there_is_said_in_one_line(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, capsys
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra) as world:
        world.create_source(some_articles(3))
        world.step("prepare")
        assert main(["--config", str(world.config), "--set", "target.table=articles_v9"]) == 2
        assert capsys.readouterr().err == "check: there is no migration into articles_v9\n"
