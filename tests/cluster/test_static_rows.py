"""A partition that has only static cells has no row: nothing of a vector can be written there."""

from __future__ import annotations

from pathlib import Path

from embedshift.stores.model import Column
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import now_us

COLUMNS = (
    Column("id", "text", "partition"),
    Column("part", "int", "clustering"),
    Column("shared", "text", "static"),
    Column("title", "text"),
    Column("content", "text"),
)


def test_a_partition_of_static_cells_only_is_copied_once(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra, columns=COLUMNS) as world:
        then = now_us()
        world.create_source()
        world.write("articles", {"id": "a", "part": 1, "title": ("bread", then), "content": ("dough", then)})
        world.write("articles", {"id": "only", "part": None, "shared": ("for nobody", then)})
        world.step("prepare")
        copied = world.carry("sync/1", read_back=True)
        assert (copied.read, copied.written, copied.shadowed) == (2, 2, 0)
        again = world.carry("sync/2", read_back=True)
        assert (again.read, again.unchanged, again.written, again.shadowed) == (2, 2, 0, 0)
        assert world.read("articles_v2")[("only", None)]["shared"][:2] == ("for nobody", then)
