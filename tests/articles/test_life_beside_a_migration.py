"""Applications that go on while a migration goes there and back: no call fails, nothing is lost, nothing comes back."""

from __future__ import annotations

import time

from tests.articles.applications import Application, assert_true, calls_of, truth_of
from tests.world import eventually, now_us

SKEW_US = 10_000


def test_a_migration_there_and_back_beside_applications(new_world, opened):
    world = new_world(soft_delete=True, cutover={"client_cache": "200ms"})
    clients = [opened(world), opened(world)]
    applications = [Application(clients[number % 2], number) for number in range(4)]
    for each in applications:
        each.start()

    def grow(by: int = 150) -> None:
        """Wait until the applications have got further, or one of them has failed."""
        goal = calls_of(applications).total() + by
        eventually(
            lambda: any(each.error for each in applications) or calls_of(applications).total() >= goal,
            deadline_s=120,
        )

    try:
        grow()
        world.step("prepare")
        grow()
        world.carry("sync/1")
        world.store.create_index(world.migration.target.index)
        grow()
        world.carry("sync/2", read_back=True)
        switched_us = now_us()
        world.move(world.migration.target, reason="cutover")
        time.sleep(0.2)  # what a cutover does: it waits for the clients' caches
        limit = {"read_back": True, "orphans_before_us": switched_us - SKEW_US}
        world.carry("sync/3", **limit)
        grow()
        world.carry("back/1", backwards=True, **limit)
        world.move(world.migration.source, reason="rollback")
        time.sleep(0.2)
        world.carry("back/2", backwards=True, **limit)
        grow()
    finally:
        for each in applications:
            each.stop()
    assert_true(world, truth_of(applications), ("articles", "articles_v2"))
    world.assert_same()
    world.assert_embedded("articles", world.old_model())
    world.assert_embedded("articles_v2", world.migration.target.model)
    assert calls_of(applications).keys() >= {"add", "update", "delete", "find"}
