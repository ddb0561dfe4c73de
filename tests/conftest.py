"""What every test shares: quiet libraries, a profile for Hypothesis, the corpora, small models, one Spark session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.clusters import cassandra, cassandra_settings, guarded, scylla_settings
from tests.world import World
from tests.world import eventually as wait_until

if TYPE_CHECKING:
    from pyspark import SparkContext

    from tests.model_kinds import Kinds

__all__ = ["cassandra", "cassandra_settings", "guarded", "scylla_settings"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Machines of CI are slow and shared: how long an example takes says nothing. With a seed every run draws the same.
settings.register_profile(
    "embedshift",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize="EMBEDSHIFT_SEED" in os.environ,
)
settings.load_profile("embedshift")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The folder of the Cranfield collection, which lies beside the checkout of this project's own machines."""
    folder = ROOT.parent / "shared" / "data" / "cranfield"
    if not folder.is_dir():
        pytest.skip("the Cranfield collection is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def old_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real model of 24 dimensions, loaded in a moment."""
    from tests.small_models import save_model

    return save_model(tmp_path_factory.mktemp("models") / "old", 24, seed=1, poisoned=False)


@pytest.fixture(scope="session")
def new_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 40 dimensions and other vectors; it cannot embed the word "poison"."""
    from tests.small_models import save_model

    return save_model(tmp_path_factory.mktemp("models") / "new", 40, seed=2)


@pytest.fixture(scope="session")
def model_kinds(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    """Makes tiny models of many kinds, each when it is first asked for."""
    from tests.model_kinds import Kinds

    return Kinds(tmp_path_factory.mktemp("kinds"))


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until a condition holds, and returns its value; for a minute, unless a test says how many seconds."""
    return lambda condition, seconds=60: wait_until(condition, deadline_s=seconds)


@pytest.fixture
def new_world(tmp_path: Path, old_model: Path, new_model: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds to migrate in, by default with the two small models; they are closed after the test."""
    made: list[World] = []

    def make(models: Any = None, **options: Any) -> World:
        folder = tmp_path / f"world-{len(made)}"
        folder.mkdir()
        made.append(World(folder, models or (old_model, new_model), **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="session")
def spark(old_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkContext]:
    """One session for all tests of a process: the steps find it running, and leave it so.

    Its workers are forked from a daemon that has torch and a model in memory, as those of ``embedshift load`` are.
    """
    from embedshift.catalog.vector_table import record_of
    from embedshift.embedding import load_model
    from embedshift.settings import ModelSettings, parse_settings
    from embedshift.spark.context import spark_context

    model = ModelSettings(name=str(old_model))
    tree = {
        "alias": "articles",
        "store": {"path": tmp_path_factory.mktemp("spark") / "unused.sqlite"},
        "source": {"table": "articles", "model": model},
        "target": {"table": "articles_v2"},
        "spark": {"master": "local[2]"},
    }
    with spark_context(parse_settings(tree), "tests", model=record_of(load_model(model))) as session:
        yield session


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the tests found beyond passing (``record_property``)."""
    from tests.reliability.matrix import table

    reports = [each for kind in terminalreporter.stats.values() for each in kind if isinstance(each, pytest.TestReport)]
    told = [pair for each in reports if each.when == "teardown" for pair in each.user_properties]
    if faults := [cells for name, cells in told if name == "fault"]:
        terminalreporter.section("faults and what became of the rows")
        terminalreporter.write(table(faults))
        # Where EMBEDSHIFT_MATRIX names a file, the table is kept there too.
        if file := os.environ.get("EMBEDSHIFT_MATRIX"):
            Path(file).write_text(table(faults), encoding="utf-8")
    for text in (text for name, text in told if name == "told"):
        terminalreporter.write_line(text)
