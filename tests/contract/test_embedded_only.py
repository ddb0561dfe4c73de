"""What only a store in a file can do, or suffer: other processes, lost files, a full disk."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from usearch.index import ScalarKind

from embedshift.errors import SchemaError, StoreUnavailable
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores import index_defaults, open_store
from embedshift.stores.embedded.graph import new_graph
from embedshift.stores.embedded.store import EmbeddedStore
from embedshift.stores.model import Column, Index, Table, write_time
from embedshift.tokens import WHOLE_RING

ROOT = Path(__file__).parents[2]

PRELUDE = """
import os, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from embedshift.errors import StoreUnavailable
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores.contract import Index, Table, Column
from embedshift.stores.embedded.store import EmbeddedStore

def batch(ids, title, time):
    n = len(ids)
    vectors = np.random.default_rng(len(ids)).standard_normal(n * 4).astype(np.float32)
    return pa.RecordBatch.from_pydict({
        "id": ids, "title": [title] * n, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 4),
        "writetime(title)": pa.array([time] * n, pa.int64()), "writetime(embedding)": pa.array([time] * n, pa.int64()),
    })

settings = StoreSettings(path=Path(sys.argv[1]))
"""


def start(code: str, path: Path, *arguments: object) -> subprocess.Popen[str]:
    """Another process: PRELUDE, then ``code``; ``sys.argv[1]`` is the store's file."""
    command = [sys.executable, "-W", "error", "-c", PRELUDE + code, str(path), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], returncode: int = 0) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == returncode, errors
    return output


@pytest.fixture
def store(embedded_settings: StoreSettings) -> Iterator[EmbeddedStore]:
    """The embedded store alone, for the fixtures of conftest.py too."""
    with closing(EmbeddedStore.open(embedded_settings)) as opened:
        yield opened


@pytest.fixture
def path(embedded_settings: StoreSettings) -> Path:
    assert embedded_settings.path
    return embedded_settings.path


@pytest.fixture
def index(store: EmbeddedStore, shelf) -> Index:
    """An index of a hundred rows, each its own direction."""
    shelf.write(*rows_of(100))
    index = Index("articles_idx", shelf.table.name, "embedding", 4, IndexSettings())
    store.create_index(index)
    return index


def rows_of(count: int, time: int = 10) -> list[dict[str, object]]:
    vectors = np.random.default_rng(1).standard_normal((count, 4)).astype(np.float32)
    return [{"id": f"{at}", "title": (f"t{at}", time), "embedding": (v.tolist(), time)} for at, v in enumerate(vectors)]


def index_files(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.usearch"))


def nearest(store: EmbeddedStore, shelf, index: Index, id_: str) -> str:
    """The row nearest to that row's vector."""
    vector = np.array(shelf.row(id=id_)["embedding"], np.float32)
    return store.search(shelf.table, index, vector, 1)[0].values["id"]


def test_rows_records_and_indexes_outlive_the_process(path):
    code = """
from embedshift.stores.records import RecordTable
alias = RecordTable("alias", ("name",), columns={"name": "text", "target": "text"})
index = Index("articles_idx", "articles", "embedding", 4, IndexSettings())
columns = Column("id", "text", "partition"), Column("title", "text"), Column("embedding", "vector<float, 4>")
store = EmbeddedStore.open(settings)
rows = batch([f"{at}" for at in range(100)], "t", 10)
if sys.argv[2] == "first":
    store.create(Table("articles", columns))
    store.write(store.describe("articles"), rows)
    store.create_index(index)
    store.records.ensure([alias])
    store.records.put(alias, [{"name": "news", "target": "v1"}])
else:
    table = store.describe("articles")
    assert table == Table("articles", columns)
    (found,) = store.scan(table, store.ring("articles")[0].range, values=["title", "embedding"])
    found = found.sort_by("id")
    assert found.select(["id", "title", "embedding"]) == rows.select(["id", "title", "embedding"]).sort_by("id")
    hit, = store.search(table, index, np.array(rows.column("embedding")[7].as_py(), np.float32), 1)
    assert hit.values["id"] == "7"
    assert store.records.get(alias, {"name": "news"})["target"] == "v1"
store.close()
"""
    finish(start(code, path, "first"))
    finish(start(code, path, "second"))


def test_several_processes_write_at_once(store, shelf, path):
    code = """
store, number = EmbeddedStore.open(settings), int(sys.argv[3])
table = store.describe(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for round in range(15):
    own = [f"{number}-{round}-{at}" for at in range(40)]
    shared = [f"shared-{at}" for at in range(40)]
    assert store.write(table, batch(own, "own", 10)) == []
    assert store.write(table, batch(shared, f"from {number}", 100 * round + number)) == []
store.close()
"""
    processes = [start(code, path, shelf.table.name, number) for number in range(4)]
    _release(processes)
    for process in processes:
        finish(process)
    rows = shelf.scan(values=["title"], times=["title"])
    assert len(rows) == 4 * 15 * 40 + 40
    shared = [row for row in rows if row["id"].startswith("shared")]
    assert {(row["title"], row["writetime(title)"]) for row in shared} == {("from 3", 1403)}


def test_a_search_knows_what_another_process_wrote(store, shelf, index, path):
    assert nearest(store, shelf, index, "7") == "7"
    code = """
store = EmbeddedStore.open(settings)
table = store.describe(sys.argv[2])
store.write(table, batch(["other"], "t", 50))
store.delete(table, pa.RecordBatch.from_pydict({"id": ["7"]}), np.array([60]))
store.close()
"""
    vector = np.array(shelf.row(id="7")["embedding"], np.float32)
    finish(start(code, path, shelf.table.name))
    assert store.search(shelf.table, index, vector, 1)[0].values["id"] != "7"
    assert nearest(store, shelf, index, "other") == "other"
    assert store.index_state(index).rows == 100


def test_a_forked_child_uses_the_store_that_it_inherited(store, shelf, index, path):
    code = """
store = EmbeddedStore.open(settings)
table = store.describe(sys.argv[2])
index = Index("articles_idx", table.name, "embedding", 4, IndexSettings())
assert len(store.search(table, index, np.ones(4, np.float32), 200)) == 100
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        store.write(table, batch([f"child-{number}"], "t", 10))
        assert len(store.search(table, index, np.ones(4, np.float32), 200)) > 100
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
assert len(store.search(table, index, np.ones(4, np.float32), 200)) == 103
store.close()
"""
    finish(start(code, path, shelf.table.name))
    assert len(store.search(shelf.table, index, np.ones(4, np.float32), 200)) == 103


@pytest.mark.parametrize("damage", ["lost", "cut", "scrambled", "empty"])
def test_an_index_file_that_is_damaged_is_built_again(store, shelf, index, embedded_settings, path, caplog, damage):
    (file,) = index_files(path)
    data = file.read_bytes()
    file.unlink()
    if damage != "lost":
        scrambled = bytes(255 - byte for byte in data)
        file.write_bytes({"cut": data[: len(data) // 2], "scrambled": scrambled, "empty": b""}[damage])
    with closing(EmbeddedStore.open(embedded_settings)) as other, caplog.at_level(logging.WARNING):
        assert nearest(other, shelf, index, "7") == "7"
        assert other.index_state(index).rows == 100
        assert len(other.search(shelf.table, index, np.ones(4, np.float32), 200)) == 100
    assert any("articles_idx" in record.message and "again" in record.message for record in caplog.records)
    caplog.clear()
    with closing(EmbeddedStore.open(embedded_settings)) as third:
        assert nearest(third, shelf, index, "7") == "7"
    assert caplog.records == []


def test_an_index_whose_builder_was_killed_is_built_by_the_next_call(store, shelf, path):
    shelf.write(*rows_of(20))
    code = """
from embedshift.stores.embedded.indexes import Indexes
Indexes._save = lambda *_: os._exit(9)
store = EmbeddedStore.open(settings)
store.create_index(Index("articles_idx", sys.argv[2], "embedding", 4, IndexSettings()))
"""
    index = Index("articles_idx", shelf.table.name, "embedding", 4, IndexSettings())
    finish(start(code, path, shelf.table.name), returncode=9)
    assert store.index_state(index).status == "failed"
    with pytest.raises(StoreUnavailable):
        store.search(shelf.table, index, np.ones(4, np.float32), 3)
    store.create_index(index)
    assert store.index_state(index).rows == 20


def test_many_changes_are_written_back_to_the_index_file(store, shelf, index, embedded_settings, path):
    before = index_files(path)
    shelf.write(*rows_of(1500, time=20))
    assert nearest(store, shelf, index, "1400") == "1400"
    (after,) = index_files(path)
    assert [after] != before
    with closing(EmbeddedStore.open(embedded_settings)) as other:
        assert nearest(other, shelf, index, "1400") == "1400"
        assert other.index_state(index).rows == 1500


def test_dropping_an_index_leaves_no_file(store, shelf, index, path):
    store.drop_index(index)
    assert index_files(path) == []


def test_a_dropped_index_is_gone_for_every_open_store(store, shelf, index, embedded_settings):
    with closing(EmbeddedStore.open(embedded_settings)) as other:
        assert len(other.search(shelf.table, index, np.ones(4, np.float32), 3)) == 3
        store.drop_index(index)
        with pytest.raises(SchemaError):
            other.search(shelf.table, index, np.ones(4, np.float32), 3)
        store.create_index(Index(index.name, index.table, index.column, 4, IndexSettings(metric="euclidean")))
        hits = other.search(shelf.table, index, np.ones(4, np.float32), 1)
        assert hits[0].score <= 0


def test_an_index_without_options_is_built_with_the_defaults_that_the_settings_show(store, index):
    (defaults,) = index_defaults("embedded").values()
    graph = new_graph(index)
    assert (graph.connectivity, graph.expansion_add, graph.expansion_search) == (16, 128, 64)
    assert graph.dtype == ScalarKind.F32
    assert (defaults.connections, defaults.expansion_add, defaults.expansion_search) == (16, 128, 64)
    assert store.index_on(index.table, index.column).options == defaults
    # The same index, named in full.
    store.create_index(replace(index, options=defaults))


@pytest.mark.parametrize("quantization", ["f32", "f16", "bf16", "i8"])
def test_scores_are_exact_however_the_index_rounds(store, shelf, index, quantization):
    settings = IndexSettings(quantization=quantization)
    rounded = Index(f"idx_{quantization}", index.table, index.column, 4, settings)
    store.create_index(rounded)
    query = np.array([0.3, -0.2, 0.9, 0.1], np.float32)
    for hit in store.search(shelf.table, rounded, query, 10, values=["embedding"]):
        vector = np.array(hit.values["embedding"])
        assert hit.score == pytest.approx(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query), abs=1e-6)


def test_vectors_without_a_direction_stay_in_the_table_and_out_of_the_search(store, shelf, index):
    shelf.write({"id": "zero", "embedding": ([0.0] * 4, 10)}, {"id": "nan", "embedding": ([np.nan] * 4, 10)})
    hits = store.search(shelf.table, index, np.ones(4, np.float32), 500)
    assert {hit.values["id"] for hit in hits} == {f"{at}" for at in range(100)}
    assert shelf.row(id="zero")["embedding"] == [0.0] * 4


@pytest.mark.parametrize(
    "options",
    [
        {"oversampling": 2.0},
        {"rescoring": False},
        {"quantization": "b1"},
        {"quantization": "i8", "metric": "euclidean"},
    ],
    ids=str,
)
def test_options_that_usearch_lacks_are_refused_with_advice(store, options):
    index = Index("articles_idx", "articles", "embedding", 4, IndexSettings(**options))
    with pytest.raises(SchemaError, match=next(iter(options))) as refusal:
        store.check_index(index)
    assert refusal.value.hint


def test_threads_share_one_store(store, shelf, index):
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for round_ in range(10):
                ids = [f"{number}-{round_}-{at}" for at in range(20)]
                shelf.write(*({"id": id_, "embedding": ([1.0, number, round_, 1.0], 10)} for id_ in ids))
                assert len(store.search(shelf.table, index, np.ones(4, np.float32), 5)) == 5
                assert len(shelf.scan(batch_rows=500)) >= 100
        except BaseException as error:  # noqa: BLE001 # handed to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert len(store.search(shelf.table, index, np.ones(4, np.float32), 5000)) == 100 + 4 * 10 * 20


def test_a_long_scan_does_not_hold_up_a_writer(store, shelf, embedded_settings):
    shelf.write(*rows_of(50))
    scan = store.scan(shelf.table, store.ring(shelf.table.name)[0].range, batch_rows=5)
    next(scan)
    with closing(EmbeddedStore.open(embedded_settings)) as other:
        other.write(shelf.table, shelf.batch(rows_of(50, time=20)))
    assert sum(batch.num_rows for batch in scan) == 45


def test_bytes_that_are_no_text_do_not_break_a_scan(store, shelf, path):
    shelf.write(*rows_of(3))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE `rows:{shelf.table.name}` SET `v:title` = CAST(x'ff41' AS TEXT) WHERE `k:id` = '1'")
        connection.commit()
    assert sorted(row["title"] for row in shelf.scan(values=["title"])) == ["t0", "t2", "\ufffdA"]


def test_an_estimate_counts_the_rows(store, shelf):
    shelf.write(*rows_of(200))
    estimate = store.estimate(shelf.table.name)
    assert estimate.rows == 200
    assert estimate.bytes > 200 * 16


def test_a_static_column_is_refused(store):
    columns = (Column("a", "text", "partition"), Column("b", "text", "clustering"), Column("s", "text", "static"))
    with pytest.raises(SchemaError, match="static"):
        store.create(Table("articles", columns))


def test_names_of_tables_are_the_same_in_capital_letters(store, new_name):
    name = new_name()
    store.create(Table(name.upper(), (Column("id", "text", "partition"),)))
    assert store.exists(name)
    assert store.describe(name).name == name.upper()
    store.drop(name)


def test_a_closed_store_says_so(store):
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.exists("articles")


# What may be wrong with the file.


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that any user may enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def refusal(settings: StoreSettings) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        EmbeddedStore.open(settings)
    assert str(settings.path) in str(caught.value) or str(settings.path.parent) in str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_folder_is_no_store(tmp_path):
    assert "folder" in refusal(StoreSettings(path=tmp_path)).what


def test_a_file_of_another_kind_is_no_store(tmp_path):
    file = tmp_path / "articles.jsonl"
    file.write_text('{"id": "a"}\n' * 1000)
    assert "not an SQLite database" in refusal(StoreSettings(path=file)).what
    assert file.read_text().startswith("{")


def test_another_programs_database_is_left_alone(tmp_path):
    file = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    assert "another program" in refusal(StoreSettings(path=file)).what


def test_a_store_of_a_later_format_is_left_alone(embedded_settings, path):
    EmbeddedStore.open(embedded_settings).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "99" in refusal(embedded_settings).what


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    refusal(StoreSettings(path=tmp_path / "file" / "below" / "articles.sqlite"))


AS_NOBODY = """
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    store = EmbeddedStore.open(settings)
    store.create(Table("more", (Column("id", "text", "partition"),)))
except StoreUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize("existing", [True, False])
def test_a_folder_that_may_not_be_written_is_named(public_folder, existing):
    path = public_folder / "articles.sqlite"
    if existing:
        EmbeddedStore.open(StoreSettings(path=path)).close()
        path.chmod(0o444)
    public_folder.chmod(0o555)
    line = finish(start(AS_NOBODY, path))
    assert str(path) in line
    assert "permissions" in line
    public_folder.chmod(0o755)


def test_a_full_disk_is_named_and_nothing_is_lost(store, shelf, path):
    """A limit on a file's size takes the place of a full disk."""
    shelf.write(*rows_of(20))
    code = """
import resource
store = EmbeddedStore.open(settings)
table = store.describe(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    for round in range(100):
        store.write(table, batch([f"{round}-{at}" for at in range(100)], "t" * 100, 10))
except StoreUnavailable as error:
    print(round, str(error).replace("\\n", " "))
"""
    rounds, line = finish(start(code, path, shelf.table.name)).split(" ", 1)
    assert str(path) in line
    assert "disk" in line
    assert len(shelf.scan()) == 20 + 100 * int(rounds)
    shelf.write({"id": "after", "title": ("t", 10)})


def test_a_lock_that_is_held_too_long_is_named(store, shelf, embedded_settings, path):
    impatient = StoreSettings(path=path, request_timeout="100ms")
    with closing(EmbeddedStore.open(impatient)) as other, closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            other.write(shelf.table, shelf.batch(rows_of(1)))
        assert caught.value.hint
        assert other.describe(shelf.table.name) == shelf.table
        holder.rollback()
        assert other.write(shelf.table, shelf.batch(rows_of(1))) == []


def test_several_processes_open_a_new_store_at_once(tmp_path):
    code = """
print("ready", flush=True)
sys.stdin.readline()
store = EmbeddedStore.open(settings)
store.close()
"""
    path = tmp_path / "new" / "articles.sqlite"
    processes = [start(code, path) for _ in range(4)]
    _release(processes)
    for process in processes:
        finish(process)


def _release(processes: list[subprocess.Popen[str]]) -> None:
    """Lets processes that printed a line and read one go on together."""
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def test_a_copy_outlives_a_table_that_is_dropped(tmp_path):
    store = open_store(StoreSettings(path=tmp_path / "articles.sqlite"))
    table = Table("articles", (Column("id", "text", "partition"), Column("title", "text")))
    store.create(table)
    row = {"id": ["a"], "title": ["kept"], write_time("title"): pa.array([10], pa.int64())}
    store.write(table, pa.RecordBatch.from_pydict(row))
    copy = tmp_path / "articles-before-articles-was-dropped.sqlite"
    assert store.snapshot("articles") == f"all tables, as they were, in {copy}"
    store.drop("articles")
    with pytest.raises(SchemaError, match=r"there is a copy .* already: move it away"):
        store.snapshot("articles")
    store.close()
    kept = open_store(StoreSettings(path=copy))
    (rows,) = kept.scan(table, WHOLE_RING, values=["title"])
    assert rows.column("title").to_pylist() == ["kept"]
    kept.close()
