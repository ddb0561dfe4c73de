"""A whole migration on a real Spark cluster, whose Python has the dependencies and, of this package, the archive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from embedshift.operations.import_file import import_articles
from tests.processes import command, parents
from tests.small_models import save_model
from tests.standalone import WORKERS, dependencies_only, plain_environment, standalone_cluster, submit
from tests.world import ROOT, eventually

DEMO = ROOT / "embedshift" / "data" / "demo"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What ``make dist`` makes for spark-submit."""
    made = [sys.executable, str(ROOT / "scripts" / "dist.py"), str(tmp_path / "dist")]
    subprocess.run(made, check=True, capture_output=True, cwd=ROOT)
    (found,) = (tmp_path / "dist").glob("*.zip")
    return found


def test_a_migration_runs_on_a_cluster_that_has_the_package_from_its_archive_alone(
    new_world, old_model, archive, tmp_path
):
    models = (old_model, save_model(tmp_path / "model", 40, seed=2, poisoned=False))
    world = new_world(models, load={"ranges": "auto"}, validation={"reembed_sample": 10})
    imported = import_articles(world.settings, world.store, DEMO / "articles.jsonl")
    python = dependencies_only(tmp_path / "environment")
    alone = [str(python), "-c", "import embedshift"]
    lacks = subprocess.run(alone, cwd=tmp_path, env=plain_environment(), capture_output=True, text=True, check=False)
    assert "No module named 'embedshift'" in lacks.stderr
    with standalone_cluster(tmp_path) as master:
        script = ROOT / "jobs" / "migrate.py"
        done = submit(master, archive, python, tmp_path, script, "--config", str(world.config), "--json")
        assert done.returncode == 0, done.stderr[-5000:]
        # Each worker's executor has fetched it; there is nowhere else that its Python could have it from.
        assert {path.parts[len(tmp_path.parts)] for path in tmp_path.glob("work-*/*/*/*.zip")} == {
            f"work-{number}" for number in range(WORKERS)
        }
    report = json.loads(done.stdout.splitlines()[-1])["steps"]["validate"]
    assert report["passed"]
    assert report["counts"]["target_rows"] == imported.rows
    # Tasks ran in several processes.
    assert len({each.owner for each in world.ranges()}) >= WORKERS
    assert world.alias.target.table == "articles_v2"
    eventually(lambda: not [each for each in parents() if str(tmp_path) in command(each)])
