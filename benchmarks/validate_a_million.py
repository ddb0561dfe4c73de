"""How long a validation of many vectors takes, and how much memory: ``python -m benchmarks.validate_a_million [ROWS]``.

Vectors of 384 dimensions in the embedded store, migrated to the same model. The validation runs in a process of its
own, so that its peak is its own; it surveys every row, one token range after another, as one Spark task does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.corpus import short
from benchmarks.record import heading, write_record
from benchmarks.scenes import with_vectors
from embedshift.embedding import Model, Template, load_model
from embedshift.settings import ModelSettings
from embedshift.steps.validate import case_of, more_of
from embedshift.stores.contract import Store
from embedshift.tokens import WHOLE_RING
from embedshift.validation.survey import Look, survey_range
from embedshift.validation.validation import NEIGHBOURS, examine
from tests.processes import peak_mb
from tests.small_models import save_model
from tests.world import World

DIMENSION, BATCH, RANGES, TOPICS = 384, 10_000, 64, 5000


def main() -> None:
    """Fill two tables, then validate in a process of its own."""
    if sys.argv[1:2] == ["--validate"]:
        _validate(Path(sys.argv[2]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        _fill(folder, rows)
        print(f"{rows:,} rows of {DIMENSION} dimensions filled in {time.perf_counter() - started:.0f} s", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.validate_a_million", "--validate", name], check=True)


def _world(folder: Path) -> World:
    model = folder / "model"
    if not model.exists():
        save_model(model, DIMENSION, seed=1, poisoned=False)
    # What the index finds is reported but has no limit, because the index is built in minutes.
    return World(
        folder,
        (model, None),
        target={"index": {"connections": 16, "expansion_add": 32}},
        validation={"probes": 200, "sample": 1000, "reembed_sample": 500, "recall_at_10": 0},
    )


def _fill(folder: Path, rows: int) -> None:
    world = _world(folder)
    world.create_source()
    world.step("prepare")
    model = load_model(ModelSettings(name=str(folder / "model")))
    # Averages of words drawn from all topics would be about equally far from each other, unlike real articles.
    for articles in short(rows, BATCH, topics=TOPICS):
        batch = _batch(model, articles)
        for table in ("articles", "articles_v2"):
            assert world.store.write(world.store.describe(table), batch) == []
    old, new = world.migration.source.index, world.migration.target.index
    # An index that exists before its rows would take in all of them at its first search, within the validation.
    world.store.drop_index(old)
    for index in (replace(old, options=new.options), new):
        world.store.create_index(index)
    world.close()


def _batch(model: Model, articles: dict[str, list[str]]) -> pa.RecordBatch:
    texts = Template.parse("{title}. {content}").render(pa.RecordBatch.from_pydict(articles))
    return with_vectors(articles, model.fingerprint, model.embed(texts.to_pylist()).vectors)


def _validate(folder: Path) -> None:
    world = _world(folder)
    case = case_of(world.settings, world.store, world.migration, [])
    case.new.model()
    before, peaks = peak_mb(), list[float]()
    head = heading("python -m benchmarks.validate_a_million")
    started = time.perf_counter()

    def surveyed(probes: Any) -> Any:
        store: Store = world.store
        parts = WHOLE_RING.split(RANGES)
        surveys = (
            survey_range(store, case.subject, part, Look(probes=probes, k=NEIGHBOURS, again_after_s=0))
            for part in parts
        )
        whole = reduce(add, surveys)
        peaks.append(peak_mb())
        return whole

    report = examine(case, surveyed, more_of(world.settings, world.migration, []))
    record = {
        **head,
        "counts": report["counts"],
        "dimension": DIMENSION,
        "seconds": round(time.perf_counter() - started, 1),
        "parts_s": {name: round(seconds, 1) for name, seconds in report["timings"].items()},
        "peak_mb": round(peak_mb()),
        "with_the_model_mb": round(before),
        "after_the_survey_mb": round(peaks[0]),
        # This store holds the index in memory to search it.
        "index_file_mb": round(report["space"]["new"]["index_bytes"] / 1e6),
        "recall_at_10": round(report["recall@10"], 3),
        "failed": [f"{check['name']} {check['value']}" for check in report["checks"] if check["passed"] is False],
    }
    print(json.dumps({key: value for key, value in record.items() if key not in head}, indent=2))
    print(f"written: {write_record(record, 'validation')}")
    world.close()


if __name__ == "__main__":
    main()
