"""Each planted defect is caught, by the checks that are named for it and by no other; a sound table passes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.validation.defects import DEFECTS, ROWS, UNLABELLED, Defect, documented, table
from tests.validation.migrated import failed, invented, migrate, validated, world_in


@pytest.fixture(scope="module")
def sound(old_model: Path, new_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a world of a thousand articles, migrated and sound."""
    folder = tmp_path_factory.mktemp("sound")
    with world_in(folder, (old_model, new_model)) as world:
        migrate(world, invented(ROWS))
    return folder


def test_a_sound_table_passes_every_check(sound: Path, old_model: Path, new_model: Path) -> None:
    with world_in(sound, (old_model, new_model), **UNLABELLED, latency_ratio=1000, latency_searches=10) as world:
        report = validated(world)

    assert failed(report) == set()
    assert {*UNLABELLED, "latency_ratio", "truncated"} - {"titles_drop"} < {check["name"] for check in report["checks"]}
    without = {"columns", "relevance_ndcg_at_10"}
    assert all(check["denominator"] for check in report["checks"] if check["name"] not in without)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_fails_its_checks_and_no_other(
    defect: Defect, sound: Path, tmp_path: Path, old_model: Path, new_model: Path
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(sound, folder)
    with world_in(folder, (old_model, new_model), **defect.settings) as world:
        defect.plant(world)

        report = validated(world)

    assert defect.checks <= failed(report) <= defect.checks | defect.besides
    assert not report["passed"]


def test_the_documented_table_is_that_of_these_tests() -> None:
    assert documented() == table(), "run python -m tests.validation.defects"
