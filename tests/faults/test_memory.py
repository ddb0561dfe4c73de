"""Memory is bounded by a batch, never by a range or a table. Invariant 8."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embedshift.settings import StoreSettings
from embedshift.spark.embed import TEXTS_MAX_BYTES, bounded
from embedshift.stores import open_store
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Table, write_time
from tests.world import ROOT

ROWS = 2_000
TEXT_BYTES = 8_000

#: Reads one token range of two tables as a task does, and says how much memory it took.
MEASURE = """
import json, sys
from embedshift.catalog.vector_table import ModelRecord, VectorTable
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.spark.compare import RangeComparison
from embedshift.spark.rows import Layout
from embedshift.spark.stores import Stores
from embedshift.stores import open_store
from embedshift.tokens import WHOLE_RING
from tests.processes import peak_mb
store = open_store(StoreSettings(path=sys.argv[1]))
model = ModelRecord("small", None, "", "", None, True, "float32", 8, "f")
names = ("articles", "articles_v2")
ends = [VectorTable(each, "id", "{content}", "embedding", False, each, IndexSettings(), model) for each in names]
layout = Layout(*ends, *(store.describe(each.table) for each in ends))
before = peak_mb()
read = deleted = largest = 0
for window in RangeComparison(Stores.one(store), layout, sys.maxsize, 64).windows(WHOLE_RING):
    read, deleted = read + window.counts.read, deleted + window.counts.deleted
    largest = max(largest, window.rows.nbytes)
print(json.dumps({"mb": peak_mb() - before, "read": read, "largest": largest, "deleted": deleted}))
"""


def filled(path: Path, source: range, target: range, *, one_partition: bool = False) -> Path:
    """Two tables of long texts with these ids, or with these clustering keys in one partition."""
    keys = (Column("id", "int", "partition"), *[Column("part", "int", "clustering")] * one_partition)
    columns = (*keys, Column("content", "text"), Column("embedding", vector_type(8)))
    store = open_store(StoreSettings(path=path))
    for name, ids in (("articles", source), ("articles_v2", target)):
        store.create(Table(name, columns))
        for start in range(ids.start, ids.stop, 500):
            part = range(start, min(start + 500, ids.stop))
            texts = [f"{number} " * (TEXT_BYTES // (len(str(number)) + 1)) for number in part]
            times = np.full(len(part), 1_000, np.int64)
            numbers = pa.array(part, pa.int32())
            key = {"id": pa.array([7] * len(part), pa.int32()), "part": numbers} if one_partition else {"id": numbers}
            batch = {**key, "content": pa.array(texts), write_time("content"): times}
            assert store.write(store.describe(name), pa.RecordBatch.from_pydict(batch)) == []
    store.close()
    return path


def measured(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", ["load", "sync", "orphans", "partition"])
def test_a_range_of_four_times_the_rows_takes_no_more_memory(tmp_path, kind):
    none = range(0)
    few, many = (
        measured(
            filled(
                tmp_path / f"{rows}.sqlite",
                none if kind == "orphans" else range(rows),
                none if kind in ("load", "partition") else range(rows),
                one_partition=kind == "partition",
            )
        )
        for rows in (ROWS, 4 * ROWS)
    )
    assert many["read" if kind != "orphans" else "deleted"] == 4 * ROWS
    # SQLite's page cache, 16 MiB for each table, is full either way; the table of the second is 64 MB large.
    assert many["mb"] < 1.15 * few["mb"] + 4, (few, many)
    assert many["largest"] < 4 * 64 * TEXT_BYTES


def test_a_window_of_long_texts_is_cut_before_it_becomes_python_strings():
    rows = pa.RecordBatch.from_pydict({"content": pa.array(["x" * 1_000_000] * 70)})
    parts = list(bounded(rows, 1024))
    assert sum(part.num_rows for part in parts) == 70
    assert max(part.num_rows for part in parts) * 1_000_000 <= TEXTS_MAX_BYTES
    assert [part.num_rows for part in bounded(rows.slice(0, 5), 2)] == [2, 2, 1]
