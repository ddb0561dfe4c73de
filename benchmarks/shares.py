"""Whose processor time a load on Cassandra takes: ``python -m benchmarks.shares``.

The same documents and ranges as ``loading`` has. Prints the seconds of the workers and of the server, the seconds of
the server's threads by kind, and those of the embedding stage alone.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from benchmarks.children import children
from benchmarks.corpus import cranfield, log_normal, texts
from benchmarks.embedding import MODEL, stage
from benchmarks.migrating import carried, cores, cut, prepared
from benchmarks.node import node, shared_node
from benchmarks.scenes import fill, scene
from scripts.run_cassandra import CassandraCluster
from tests.processes import command, descendants

_RANGES, _DOCUMENTS, _TURNS, _KINDS = 5, 1200, 2, 6
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the shares of each turn; in the first one everything is still cold."""
    with shared_node(True) as environment:
        os.environ.update(environment)
        articles = cranfield(_DOCUMENTS) or log_normal(_DOCUMENTS)
        with node() as server, scene("Cassandra", MODEL, **cut(_RANGES, MODEL, texts(articles))) as world:
            fill(world, articles, vectors=False)
            with prepared(world) as spark:
                for _ in range(_TURNS):
                    world.step("abort")
                    world.step("prepare")
                    before = _spent(server)
                    carried(world, spark, "load")
                    after = _spent(server)
                    _print("load", {name: took - before.get(name, 0.0) for name, took in after.items()})
            documents = texts(articles)
            window = len(documents) // (_RANGES * cores())
            parts = [(documents[part :: cores()], world.settings.load.precision, window) for part in range(cores())]
            with children(stage, parts) as alone:
                for _ in range(_TURNS):
                    print(f"the embedding stage alone: {cores() * alone.ask()[0]:.1f} s of all cores")


def _print(what: str, spent: dict[str, float]) -> None:
    totals = ", ".join(f"{each} {spent.pop(each):.1f} s" for each in ("workers", "server"))
    threads = sorted(spent.items(), key=lambda each: -each[1])[:_KINDS]
    print(f"{what}: {totals}; of the server: " + ", ".join(f"{name} {took:.1f} s" for name, took in threads))


def _spent(server: CassandraCluster) -> dict[str, float]:
    """Seconds of processor time so far: of the workers, of the server, and of the server's threads by kind."""
    spent: defaultdict[str, float] = defaultdict(float)
    for process in descendants(os.getpid()):
        if "embedshift.spark.worker" in command(process):
            spent["workers"] += _seconds(Path(f"/proc/{process}/stat"))[1]
    node_process = Path(f"/proc/{server.nodes[0].pid}")
    spent["server"] = _seconds(node_process / "stat")[1]
    for thread in (node_process / "task").iterdir():
        name, seconds = _seconds(thread / "stat")
        spent[re.sub(r"[-:#\d]+$", "", name)] += seconds
    return spent


def _seconds(stat: Path) -> tuple[str, float]:
    try:
        name, _, rest = stat.read_text(encoding="utf-8").partition("(")[2].rpartition(")")
    except OSError:  # it has just ended
        return "", 0.0
    fields = rest.split()
    return name, (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
