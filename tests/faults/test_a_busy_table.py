"""A table that is written to all the time is proved, and what no write explains is a fault. Invariants 1, 2 and 7."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from embedshift.catalog.validations import last_validation
from embedshift.errors import CheckFailed, RefusedError
from tests.small_models import POISON, words
from tests.world import DIGEST, World, now_us

#: A plain writer sleeps this long between two writes.
PAUSE_S = 0.5
WORDS = [word for word in words() if word.isalpha() and word != POISON]


class PlainWriter(threading.Thread):
    """Inserts, changes and deletes rows of the old table, and knows of nothing else."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(daemon=True)
        self.world, self.chance, self.stop = world, random.Random(number), threading.Event()
        self.number, self.written = number, 0
        self.keys = sorted(key[0] for key in world.read("articles"))[number::2]

    def run(self) -> None:
        while not self.stop.wait(PAUSE_S):
            deed = self.chance.choice(["change", "change", "insert", "delete", "touch"])
            if deed == "insert":
                self.keys.append(f"new-{self.number}-{self.written}")
            at = self.chance.randrange(len(self.keys)) if deed != "insert" else -1
            key, words = {"id": self.keys[at]}, (" ".join(self.chance.sample(WORDS, 6)), now_us())
            if deed == "delete":
                self.world.delete("articles", {"id": self.keys.pop(at)})
            elif deed == "touch":
                self.world.write("articles", {**key, "title": words})
            else:
                self.world.write("articles", {**key, "title": words, "content": words})
            self.written += 1


@contextmanager
def written_to(world: World) -> Iterator[list[PlainWriter]]:
    """Two plain writers, until the block ends."""
    writers = [PlainWriter(world, number) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop.set()
        for writer in writers:
            writer.join(60)


def checks_of(world: World) -> dict[str, Any]:
    proof = last_validation(world.store, world.migration.id)
    assert proof is not None
    return {check["name"]: check for check in proof.report["checks"]}


def test_ten_validations_under_two_plain_writers_raise_no_false_alarm(loaded: World) -> None:
    quick = {"latency_searches": 0, "reembed_sample": 5, "probes": 5, "unproved": 0.1}
    loaded.with_settings(validation=quick, cutover={"drift": 0.9})
    carried = 0
    with written_to(loaded) as writers:
        for seed in range(10):
            loaded.with_settings(validation={"seed": seed})
            carried += loaded.step("validate")["counts"]["in_flight"]
        loaded.step("cutover")
    assert all(writer.written for writer in writers)
    assert carried > 10, "nobody has written meanwhile"
    # What they wrote to the old table after the switch came too late for its last pass.
    loaded.step("sync")
    loaded.assert_embedded("articles_v2", loaded.migration.target.model)


def test_beside_a_writer_a_fault_that_no_write_explains_is_still_found(loaded: World) -> None:
    loaded.delete("articles_v2", {"id": "a004"})
    with written_to(loaded), pytest.raises(CheckFailed, match="missing"):
        loaded.step("validate")


def test_a_row_that_the_source_lacks_is_a_fault_where_nobody_writes(loaded: World) -> None:
    loaded.delete("articles", {"id": "a004"})
    with pytest.raises(CheckFailed, match="rows, orphans"):
        loaded.step("validate")


def swap(world: World) -> None:
    """Two vectors change places, each below the digest of the other one."""
    found = world.read("articles_v2")
    for one, other in (("a004", "a005"), ("a005", "a004")):
        world.write("articles_v2", {"id": one, "embedding": (found[(other,)]["embedding"][0], now_us())})


@pytest.mark.parametrize("drift", [0, 0.5])
def test_vectors_that_were_swapped_after_the_validation_are_refused(loaded: World, drift: float) -> None:
    loaded.with_settings(cutover={"drift": drift})
    loaded.step("validate")
    swap(loaded)
    with pytest.raises(RefusedError, match="now fails: .*mixed" if drift else "2 of 30 rows"):
        loaded.step("cutover")


def test_old_write_times_count_as_drift_too(loaded: World) -> None:
    loaded.step("validate")
    loaded.with_settings(cutover={"drift": 0.1})
    long_ago = 1_600_000_000_000_000
    rows = [{"id": f"old{at}", "title": ("old", long_ago), "content": (f"article {at}", long_ago)} for at in range(4)]
    loaded.write("articles", *rows)
    with pytest.raises(RefusedError, match="4 of 30 rows"):
        loaded.step("cutover")


def test_a_mixed_row_that_a_late_task_left_is_seen_and_repaired(loaded: World) -> None:
    """Vector and digest have one write time; where two writers tie, each cell is settled for itself."""
    found = loaded.read("articles_v2")
    vector = np.ones(len(found[("a004",)]["embedding"][0]), np.float32)
    vector /= np.linalg.norm(vector)
    at_us = found[("a004",)]["embedding"][1] + 1
    made = {"embedding": (vector.tolist(), at_us), DIGEST: (found[("a004",)][DIGEST][0], at_us)}
    loaded.write("articles_v2", {"id": "a004", **made})
    with pytest.raises(CheckFailed, match="mixed"):
        loaded.step("validate")
    loaded.with_settings(sync={"inspect": True})
    loaded.steps("sync", "validate")
    loaded.assert_migrated()


def test_digests_of_sixteen_bytes_stay_valid_and_prove_no_vector(loaded: World) -> None:
    """They are those of earlier versions: nothing is embedded again, and the report says what it does not know."""
    for (key,), cells in loaded.read("articles_v2").items():
        # Of two values at one time the longer one would stay.
        digest, at_us, _ = cells[DIGEST]
        made = {"embedding": (cells["embedding"][0], at_us + 1), DIGEST: (digest[:16], at_us + 1)}
        loaded.write("articles_v2", {"id": key, **made})
    assert loaded.step("sync")["written"] == 0
    report = loaded.step("validate")
    assert report["passed"]
    mixed = checks_of(loaded)["mixed"]
    assert (mixed["passed"], mixed["value"]) == (None, None)
    assert "not measured" in mixed["note"]
    status = loaded.step("status")["migration"]["validation"]
    assert "mixed" in status["not_measured"]
    assert status["failed"] == []
