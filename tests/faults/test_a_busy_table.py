"""A table that is written to all the time is proved, and what no write explains is a fault. Invariants 1, 2 and 7."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from embedshift.catalog.validations import last_validation, write_validation
from embedshift.errors import CheckFailed, RefusedError
from embedshift.stores.model import Column
from tests.small_models import POISON, words
from tests.validation.defects import gappy_index
from tests.world import DIGEST, World, now_us, some_articles

#: A plain writer sleeps this long between two writes.
PAUSE_S = 0.5
WORDS = [word for word in words() if word.isalpha() and word != POISON]


class PlainWriter(threading.Thread):
    """Inserts, changes and deletes rows of the old table, and knows of nothing else."""

    def __init__(self, world: World, number: int, pause_s: float) -> None:
        super().__init__(daemon=True)
        self.pause_s = pause_s
        self.world, self.chance, self.stop = world, random.Random(number), threading.Event()
        self.number, self.written = number, 0
        self.keys = sorted(key[0] for key in world.read("articles"))[number::2]

    def run(self) -> None:
        while not self.stop.wait(self.pause_s):
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
def written_to(world: World, *, writers: int = 2, pause_s: float = PAUSE_S) -> Iterator[list[PlainWriter]]:
    """Plain writers, until the block ends."""
    started = [PlainWriter(world, number, pause_s) for number in range(writers)]
    for writer in started:
        writer.start()
    try:
        yield started
    finally:
        for writer in started:
            writer.stop.set()
        for writer in started:
            writer.join(60)


def checks_of(world: World) -> dict[str, Any]:
    proof = last_validation(world.store, world.migration.id)
    assert proof is not None
    return {check["name"]: check for check in proof.report["checks"]}


@pytest.mark.parametrize("times", [4, pytest.param(10, marks=pytest.mark.long)])
def test_validations_under_two_plain_writers_raise_no_false_alarm(loaded: World, times: int) -> None:
    quick = {"latency_searches": 0, "reembed_sample": 5, "probes": 5, "unproved": 0.1}
    # On a slow machine somebody has always written since the last pass.
    loaded.with_settings(validation=quick, cutover={"drift": 0.9}, sync={"until": 5})
    carried = 0
    with written_to(loaded) as writers:
        for seed in range(times):
            loaded.with_settings(validation={"seed": seed})
            carried += loaded.step("validate")["counts"]["in_flight"]
        loaded.step("cutover")
    assert all(writer.written for writer in writers)
    assert carried > times, "nobody has written meanwhile"
    # What they wrote to the old table after the switch came too late for its last pass.
    loaded.with_settings(sync={"until": 0})
    loaded.step("sync")
    loaded.assert_embedded("articles_v2", loaded.migration.target.model)


def test_beside_a_writer_a_fault_that_no_write_explains_is_still_found(loaded: World) -> None:
    loaded.delete("articles_v2", {"id": "a004"})
    with written_to(loaded), pytest.raises(CheckFailed, match="missing"):
        loaded.step("validate")


def test_a_client_that_only_deletes_raises_no_false_alarm(loaded: World) -> None:
    loaded.delete("articles", {"id": "a004"})
    loaded.write("articles", {"id": "a005", "title": (None, now_us())})
    assert loaded.step("validate")["counts"]["in_flight"] == 2
    loaded.assert_migrated()
    loaded.step("cutover")


def test_half_a_write_a_second_into_sixty_four_rows_is_proved_by_the_usual_limits(
    new_world: Callable[..., World], spark: object
) -> None:
    world = new_world(sync={"clock_skew": "10s"}, validation={"latency_searches": 0, "probes": 5, "reembed_sample": 5})
    world.create_source(world.embedded(world.old_model(), *some_articles(64)))
    world.steps("prepare", "load", "sync", "index", "sync")
    with written_to(world, writers=1, pause_s=2):
        for _ in range(3):
            world.step("validate")


def test_a_row_that_nobody_in_the_source_wrote_is_a_fault(loaded: World) -> None:
    """It is too young for sync to take it for one that was deleted in the source, and is so at each look."""
    loaded.with_settings(sync={"clock_skew": "10s"})
    ghost = {"id": "ghost", "title": ("A ghost", now_us()), "content": ("in the target", now_us())}
    loaded.write("articles_v2", *loaded.embedded(loaded.migration.target.model, ghost))
    with written_to(loaded), pytest.raises(CheckFailed, match="orphans"):
        loaded.step("validate")


@pytest.mark.parametrize("ahead_us", [0, 3_600_000_000])
def test_one_write_is_no_excuse_for_a_difference_that_stays(loaded: World, ahead_us: int) -> None:
    """Not even one of a clock that is ahead: nobody has changed the row in the source since it was looked at."""
    loaded.with_settings(sync={"clock_skew": "10s"})
    at_us = now_us() + ahead_us
    loaded.write("articles", {"id": "new", "title": ("A new", at_us), "content": ("article", at_us)})
    loaded.delete("articles_v2", {"id": "new"}, at_us=at_us + 5_000_000)
    with pytest.raises(CheckFailed, match="missing"):
        loaded.step("validate")


def test_an_index_that_lacks_a_vector_is_not_excused_by_rows_that_go(loaded: World) -> None:
    """Where the index has fewer vectors than were counted, the table is counted once more."""
    gappy_index(loaded)
    with pytest.raises(CheckFailed, match="index_rows"):
        loaded.step("validate")


def test_a_column_that_came_later_is_said(loaded: World) -> None:
    loaded.store.add_column("articles", Column("extra", "text"))
    with pytest.raises(CheckFailed, match="columns"):
        loaded.step("validate")
    assert checks_of(loaded)["columns"]["note"] == "the target does not have extra"


def test_what_was_measured_for_the_proof_must_be_measured_at_the_switch(loaded: World) -> None:
    """Two rows are written as an earlier version would write them, each with the vector of the other one."""
    loaded.with_settings(cutover={"drift": 0.5})
    loaded.step("validate")
    found, at_us = loaded.read("articles_v2"), now_us()
    for one, other in (("a004", "a005"), ("a005", "a004")):
        made = {"embedding": (found[(other,)]["embedding"][0], at_us), DIGEST: (found[(one,)][DIGEST][0][:16], at_us)}
        loaded.write("articles_v2", {"id": one, **made})
    with pytest.raises(RefusedError, match="now fails: mixed"):
        loaded.step("cutover")


def test_a_sample_of_nothing_is_said_and_is_no_error(loaded: World) -> None:
    loaded.with_settings(validation={"reembed_sample": 0})
    loaded.step("validate")
    assert checks_of(loaded)["reembedding_differs"]["note"] == "not measured: validation.reembed_sample is 0"


def test_the_record_of_another_version_is_no_proof_in_a_dry_run_either(loaded: World) -> None:
    record = loaded.step("validate")
    earlier = {name: value for name, value in record.items() if name != "sketch"}
    write_validation(loaded.store, loaded.migration.id, passed=True, content=record["content"], report=earlier)
    with pytest.raises(RefusedError, match="another version made the last validation: run embedshift validate"):
        loaded.step("cutover", dry_run=True)


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
