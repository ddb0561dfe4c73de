"""The audit: every kind of bad vector is counted once, named, and made good; good ones are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from embedshift.errors import CheckFailed, UsageError
from embedshift.spark.stores import Stores
from embedshift.spark.task import RangeTask
from embedshift.spark.transfer import transfer_in_place
from embedshift.tokens import WHOLE_RING
from tests.world import World, now_us, some_articles

#: What each kind of fault does to a row that was good.
FAULTS: dict[str, dict[str, Any]] = {
    "stale": {"content": ("bread and river and stone", None)},
    "without_vector": {"embedding": (None, None)},
    "orphans": {"title": (None, None), "content": (None, None)},
    "not_unit": {"embedding": ([3.0] + [0.0] * 23, None)},
    "nonfinite": {"embedding": ([float("nan")] + [0.0] * 23, None)},
    "mixed": {"embedding": ([1.0] + [0.0] * 23, None)},
}


def spoil(world: World, kinds: list[str]) -> None:
    now = now_us()
    for row, kind in enumerate(kinds):
        cells = {name: (value, now) for name, (value, _) in FAULTS[kind].items()}
        world.write("articles", {"id": f"a{row:03}", **cells})


@pytest.fixture
def audited(new_world, spark) -> World:
    world = new_world()
    world.write("articles", *world.embedded(world.old_model(), *some_articles(40)))
    return world


def test_a_good_table_passes(audited):
    result = audited.step("audit")
    assert (result["rows"], result["with_text"], result["faulty"]) == (40, 40, 0)


def test_every_fault_is_counted_once_named_and_repaired(audited):
    kinds = [kind for kind in FAULTS if kind != "nonfinite" or audited.settings.store.kind == "embedded"]
    spoil(audited, kinds)
    with pytest.raises(CheckFailed, match=f"{len(kinds)} of 40 rows") as caught:
        audited.step("audit")
    assert caught.value.exit_code == 1
    good = {key: cells for key, cells in audited.read("articles").items() if int(key[0][1:]) >= len(kinds)}

    result = audited.step("audit", repair=True)
    assert (result["faulty"], result["repaired"]) == (0, len(kinds))
    model = audited.old_model()
    audited.assert_embedded("articles", model)
    after = audited.read("articles")
    assert {key: after[key] for key in good} == good, "a good row was written again"
    orphan = after.get((f"a{kinds.index('orphans'):03}",), {})
    assert "embedding" not in orphan
    assert audited.step("audit")["faulty"] == 0


def test_a_vector_of_another_model_that_the_catalog_knows_is_told_apart(audited):
    audited.step("prepare")
    other = audited.migration.target.model
    text = audited.text(("a001",), audited.read_one("articles", "a001"))
    audited.write("articles", {"id": "a001", "embedding_digest": (audited.digest(other.fingerprint, text), now_us())})
    with pytest.raises(CheckFailed):
        audited.step("audit")
    audited.with_settings(audit={"tolerate": 0.05})
    result = audited.step("audit")
    assert result["faults"]["other_model"] == 1
    assert result["examples"]["other_model"] == ({"id": "a001"},)


def test_a_sample_looks_at_a_part_and_a_repair_at_all(audited):
    assert audited.step("audit", sample="30%")["rows"] < 40
    with pytest.raises(UsageError, match="whole table"):
        audited.step("audit", sample="0.5", repair=True)
    for wrong in ("0", "150%", "much"):
        with pytest.raises(UsageError, match="write 10%"):
            audited.step("audit", sample=wrong)


def test_a_row_that_is_deleted_while_it_is_repaired_stays_deleted(audited):
    """Invariant 13: the look at what was written finds nothing, and must not take that for a shadowed repair."""
    spoil(audited, ["without_vector"])
    vector_table = audited.alias.target
    transfer = transfer_in_place(audited.settings, audited.store, vector_table, "audit/1")
    task = RangeTask(Stores.one(audited.store), transfer, WHOLE_RING, 1)
    windows = [task.embed(window) for window in task.compared()]
    assert sum(window.rows.num_rows for window in windows) == 1
    audited.delete("articles", {"id": "a000"})
    for window in windows:
        task.write(window)
    assert audited.read_one("articles", "a000") is None
