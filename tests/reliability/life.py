"""The life of a table: one migration after another, each with applications that write and a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedshift import Articles
from embedshift.articles.delete import add_soft_delete
from embedshift.catalog.alias import create_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.stores.model import Column
from scripts.run_cassandra import CassandraCluster
from tests.articles.applications import IDS, Application, truth_of
from tests.cluster.worlds import cluster_world
from tests.reliability import faults
from tests.reliability.faults import Fault, strike_during
from tests.reliability.matrix import Outcome, assert_nothing_wrong, tried_again
from tests.reliability.writer import Writer
from tests.world import ARTICLE, World, merged, some_articles

Truth = dict[str, tuple[str, str] | None]
#: The node whose disk can be filled.
SMALL = 2


def cluster_of_three(folder: Path, disk: Path | None) -> CassandraCluster:
    """Three nodes that keep what they acknowledged, and that stop serving when their disk fails them."""
    # What a killed node has acknowledged must be on its disk, or one replica of three would forget it.
    durable: dict[str, object] = {"commitlog_sync": "batch", "commitlog_sync_period": None}
    # What the shipped cassandra.yaml says; left out, a node would go on with a disk that takes nothing.
    failing: dict[str, object] = {"disk_failure_policy": "stop", "commit_failure_policy": "stop"}
    return CassandraCluster(
        folder, nodes=3, settings=durable | failing, data_dirs={SMALL: disk} if disk is not None else None
    )


@contextmanager
def living(client: Articles, *numbers: int) -> Iterator[list[Application]]:
    """Applications that add, change, hide and delete articles through the alias."""
    applications = [Application(client, number) for number in numbers]
    for each in applications:
        each.start()
    try:
        yield applications
    finally:
        for each in applications:
            each.stop()


def known_to(applications: list[Application]) -> Truth:
    """Of every article that the applications may ever have made, title and content, or None where it is gone."""
    truth = truth_of(applications)
    ids = [f"n{each.number}-{article}" for each in applications for article in range(IDS)]
    return {id_: (truth[id_]["title"], truth[id_]["content"]) if id_ in truth else None for id_ in ids}


class Life:
    """A live table that is migrated again and again, and what its applications know of it.

    Args:
        world: with a filled source table that the alias names.
        cluster: where it is.
    """

    def __init__(self, world: World, cluster: CassandraCluster) -> None:
        self.world, self.cluster = world, cluster
        rows = some_articles(len(world.read(world.settings.source.table)))
        #: Articles that nobody changes; every third is the first application's.
        self.still = [row for number, row in enumerate(rows) if number % 3]
        #: What the application that writes its table by itself knows of it, and what all others do.
        self.own: Truth = {row["id"]: (row["title"][0], row["content"][0]) for row in rows[::3]}
        self.theirs: Truth = {}
        self.targets = 1

    def next_target(self) -> None:
        """Let the settings name a target that there was not yet."""
        self.targets += 1
        self.world.with_settings(target={"table": f"articles_v{self.targets}"})

    def judge(self, outcome: Outcome, *, back: bool = False) -> None:
        """Everything is as it must be, or an AssertionError that says what is not."""
        assert_nothing_wrong(outcome, outcome.judge(self.world, self.own | self.theirs, back=back))

    def struck(self, outcome: Outcome, step: str, fault: Fault) -> None:
        """A load and a sync with a fault in one of them, while the application writes its table by itself."""
        world = self.world
        self.next_target()
        world.step("prepare")
        if step != "load":
            self.run(("load", "sync", "index"))
        with Writer(world, self.cluster, self.own) as writer:
            strike_during(world, step, fault, writer.stop)
        self.learn(fault, writer)
        self.run(("sync", "index", "sync") if step == "load" else ("sync",))
        outcome.application, outcome.again = f"{writer.writes} writes", tried_again(world)
        self.judge(outcome)
        world.step("abort")

    def learn(self, fault: Fault, writer: Writer) -> None:
        """What the application has written is known from now on."""
        self.own = writer.truth
        if isinstance(fault, faults.WriteTimedOut):
            self.theirs[fault.id] = fault.values

    def run(
        self,
        steps: Sequence[str],
        struck: str = "",
        fault: Fault | None = None,
        repaired: Callable[[], None] = lambda: None,
    ) -> None:
        """Run steps, and let the fault strike in one of them."""
        for step in steps:
            if step == struck and fault is not None:
                strike_during(self.world, step, fault, repaired)
            else:
                self.world.step(step)


@contextmanager
def lived(
    folder: Path, models: tuple[Path, Path], cluster: CassandraCluster, rows: int, **changes: dict[str, Any]
) -> Iterator[Life]:
    """A table with vectors and soft deletes that an alias names, on a cluster with as many replicas as nodes."""
    settings: dict[str, dict[str, Any]] = {
        "store": {"request_timeout": "6s"},
        "load": {"ranges": 32},
        "cutover": {"client_cache": "2s", "drift": 0.9},
        "sync": {"clock_skew": "10ms", "passes": 20},
        # The table changes between the survey and the searches that are compared with it.
        "validation": {"recall_at_10": 0.3},
    }
    columns = (*ARTICLE, Column("views", "int"))
    with cluster_world(
        folder, models, cluster, replicas=len(cluster.nodes), columns=columns, **merged(settings, changes)
    ) as world:
        ensure_catalog(world.store)
        world.create_source(world.embedded(world.old_model(), *some_articles(rows)))
        live = live_vector_table(world.settings, world.store, world.store.describe("articles"))
        create_alias(world.store, "articles", live)
        add_soft_delete(world.settings, world.store)
        yield Life(world, cluster)
