"""Rounds of a soak: each a whole migration with applications that write, a fault drawn by chance, and an end."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from embedshift import Articles
from embedshift.catalog.vector_table import record_of
from embedshift.embedding import load_model
from embedshift.spark.context import spark_context
from scripts.run_cassandra import CassandraCluster
from tests.articles.applications import calls_of
from tests.reliability import faults
from tests.reliability.disks import small_disk
from tests.reliability.faults import Fault
from tests.reliability.life import SMALL, Life, cluster_of_three, known_to, lived, living
from tests.reliability.matrix import Matrix, tried_again
from tests.reliability.writer import Asker, Writer
from tests.small_models import save_model

#: The steps in which a fault may strike.
STEPS = ("load", "sync", "cutover", "rollback")


class Soak:
    """A table's life, and the chance that draws what happens in it.

    Args:
        disk: the small disk of one node; None where there is none.
    """

    def __init__(self, life: Life, disk: Path | None, chance: random.Random) -> None:
        self._life, self._disk, self._chance = life, disk, chance
        self._rounds = 0

    def round(self, matrix: Matrix) -> None:
        """One migration with a fault in one of its steps; one time in four, and for a fault in it, the way back."""
        life, world = self._life, self._life.world
        self._rounds += 1
        step = self._chance.choice(STEPS)
        fault = self._fault(step)
        back = self._chance.random() < 1 / 4 or step == "rollback"
        life.next_target()
        with matrix.case(fault.name, step + (", then back" if back and step != "rollback" else "")) as outcome:
            with (
                Articles.open(world.config) as client,
                Asker(world, life.still, self._rounds) as asker,
                living(client, 2 * self._rounds, 2 * self._rounds + 1) as applications,
            ):
                life.run(("prepare",))
                with Writer(world, life.cluster, life.own) as writer:
                    life.run(("load", "sync", "index"), "" if step == "sync" else step, fault)
                    if step == "sync":
                        life.run(("sync",), step, fault, writer.stop)
                life.learn(fault, writer)
                life.run(("sync", "validate", "cutover"), step if step == "cutover" else "", fault)
                if back:
                    life.run(("rollback",), step, fault)
            life.theirs |= known_to(applications)
            # What could not be written to both tables meanwhile is in the live one; sync carries it over.
            life.run(("sync",))
            outcome.application = f"{writer.writes} writes, {calls_of(applications).total()} calls"
            outcome.again, outcome.mixed = tried_again(world), asker.mixed
            for backwards in (True, False) if back else (False,):
                life.judge(outcome, back=backwards)
        self._end(back)

    def _fault(self, step: str) -> Fault:
        cluster, disk = self._life.cluster, self._disk
        node = self._chance.randrange(len(cluster.nodes))
        known: list[Callable[[], Fault]] = [
            faults.DriverKilled,
            faults.JvmKilled,
            faults.WorkerKilled,
            lambda: faults.NodePaused(cluster, node),
        ]
        if len(cluster.nodes) > 1:
            known += [lambda: faults.NodeKilled(cluster, node), lambda: faults.CoordinatorKilled(cluster)]
            if step in ("load", "sync"):
                known.append(lambda: faults.WriteTimedOut(cluster))
                if disk is not None:
                    known.append(lambda: faults.DiskFull(cluster, SMALL, disk))
        return self._chance.choice(known)()

    def _end(self, back: bool) -> None:
        """Drop the table that is not live; the live one is the next round's source."""
        world = self._life.world
        if back:
            world.step("abort")
            return
        world.step("retire")
        old, new = world.tree["source"], world.tree["target"]
        world.with_settings(
            source={"table": new["table"], "model": new["model"]},
            target={"table": f"{new['table']}_next", "model": old["model"]},
        )


def new_soak(stack: ExitStack, folder: Path, nodes: int, rows: int, chance: random.Random) -> Soak:
    """Start nodes and Spark, and fill a table that an alias names; ended when the stack is.

    Raises:
        CassandraUnavailable: this machine cannot run it.
    """
    # Texts are drawn from all words: either model must be able to embed each.
    models = [save_model(folder / f"model-{n}", n, seed=n, poisoned=False) for n in (24, 40)]
    disk = stack.enter_context(small_disk(folder / "disk")) if nodes > 1 else None
    cluster = cluster_of_three(folder / "nodes", disk) if nodes > 1 else CassandraCluster(folder / "nodes")
    stack.enter_context(cluster)
    # Applications write all the time: a pass that finds a handful counts as clean.
    life = stack.enter_context(lived(folder / "world", (models[0], models[1]), cluster, rows, sync={"until": 5}))
    settings = life.world.settings
    model = record_of(load_model(settings.target_model))
    stack.enter_context(spark_context(settings, "soak", model=model))
    return Soak(life, disk, chance)
