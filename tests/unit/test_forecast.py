"""The arithmetic of ``plan``, against figures computed by hand and against small tables that are really there."""

from __future__ import annotations

import json
import statistics
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from embedshift.catalog.ranges import Counts, RangeRecord, write_ranges
from embedshift.catalog.setup import ensure_catalog
from embedshift.cli.maintenance import plan as plan_
from embedshift.embedding.throughput import Rate
from embedshift.errors import UsageError
from embedshift.operations.plan import Forecast, Load, forecast
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores import Product, computed_index_size, open_store
from embedshift.stores.model import Index, IndexSize
from embedshift.tokens import WHOLE_RING
from tests.world import some_articles

OWNER = "embedshift@worker-17.example:12345"
BILLION = Load(10**9, 1000, 384, rate=50, workers=64, replicas=3, price=0.05)


def index_size(load: Load, product: Product = "scylladb", **options: object) -> IndexSize:
    return computed_index_size(product, Index("", "", "", load.dimension, IndexSettings(**options)), load.rows)


def forecast_of(load: Load) -> Forecast:
    return forecast(load, index_size(load))


def test_a_billion_rows_by_hand():
    made = forecast_of(BILLION)
    assert (made.ranges, made.range_rows) == (100_000, 10_000)
    assert (made.catalog_rows, made.partition_rows) == (100_000, 6_250)
    assert (made.rows_per_second, made.limit) == (3_200, "embedding")
    # 10,000 texts at 50 a second, and Spark's own cost of a task.
    assert made.range_seconds == pytest.approx(200.1)
    # 1,000 of text, 384 numbers of 4, 64 of key, digest and write times.
    assert made.table_bytes == 2_600 * 10**9
    assert made.table_bytes_all == 3 * made.table_bytes
    assert made.write_bytes_per_second == 3_200 * 2_600 * 3
    # ScyllaDB's formula: 1,536 of numbers and 16 connections of 16, and a fifth more.
    assert made.index_bytes == pytest.approx((1536 + 16 * 16) * 1.2 * 1e9)
    assert made.index_bytes_all == 3 * made.index_bytes
    # 312,500 s of embedding, 156.25 s of tasks' own cost, 15 s to start.
    assert made.hours == pytest.approx((312_500 + 156.25 + 15) / 3600)
    assert made.cost == pytest.approx(made.hours * 64 * 0.05)


@pytest.mark.parametrize(
    ("product", "options", "bytes_a_row"),
    [
        ("scylladb", {"connections": 32, "quantization": "i8"}, (384 + 32 * 16) * 1.2),
        # Its vector, a byte for two dimensions, 32 edges of 4, 33 of positions.
        ("cassandra", {}, 1536 + 192 + 128 + 33),
        # 1,536 of numbers, 12 of key and level, 132 of edges below, 68 / 15 above.
        ("embedded", {}, 1536 + 12 + 132 + 68 / 15),
    ],
)
def test_an_index_is_as_large_as_its_product_says(product, options, bytes_a_row):
    size = index_size(BILLION, product, **options)
    assert size.bytes == pytest.approx(bytes_a_row * 1e9, rel=1e-6)
    assert not size.measured


def test_a_database_that_takes_less_decides_the_rate():
    made = forecast_of(replace(BILLION, writes=1_600, price=None))
    assert (made.rows_per_second, made.limit, made.cost) == (1_600, "writing", None)
    assert made.range_seconds == pytest.approx(400.1)


def test_no_more_workers_count_than_there_are_ranges():
    made = forecast_of(replace(BILLION, rows=60))
    assert (made.ranges, made.rows_per_second) == (1, 50)


def test_longer_texts_cost_more_until_the_model_cuts_them():
    rate = Rate("small", 384, texts=100, text_bytes=400, tokens=100, tokens_read=100, max_length=256)
    assert rate.of_texts(400) == 100
    assert rate.of_texts(800) == 50
    assert rate.of_texts(8_000) == pytest.approx(100 * 100 / 256)
    # If a model does not count tokens, bytes decide.
    assert Rate("static", 256, 3_000, 500).of_texts(1_000) == 1_500


def test_a_plan_of_a_small_table_is_what_its_migration_takes(new_world):
    world = new_world(load={"ranges": "auto"})
    world.create_source(some_articles(400))
    estimate = world.store.estimate("articles")
    world.step("prepare")
    counts = world.carry("by one task")
    world.store.create_index(world.migration.target.index)
    texts = [world.text(key, cells) for key, cells in world.carried("articles").items()]
    (record,) = world.ranges("by one task")
    size = statistics.mean(len(text.encode()) for text in texts)
    load = Load(400, size, 40, counts.read / record.seconds, workers=1, replicas=1)
    made = forecast(load, index_size(load, "embedded"))
    assert made.ranges == len(world.ranges()) == 8
    assert estimate.rows == 400
    assert made.table_bytes == pytest.approx(world.store.estimate("articles_v2").bytes, rel=0.2)
    assert made.index_bytes == pytest.approx(world.store.index_size(world.migration.target.index, 0).bytes, rel=0.2)
    # What is not embedding: Spark, of which there is none here.
    assert made.hours * 3600 - 15 - 8 * 0.1 == pytest.approx(record.seconds, rel=0.01)


def test_the_catalog_takes_as_many_bytes_as_planned(tmp_path):
    sizes = []
    for ranges in (1_000, 5_000):
        path = tmp_path / f"{ranges}.sqlite"
        with closing(open_store(StoreSettings(path=path))) as store:
            ensure_catalog(store)
            counts = Counts(5_000, 5_000)
            done = [RangeRecord(each, "done", counts, 1, OWNER, "", 9.5) for each in WHOLE_RING.split(ranges)]
            write_ranges(store, "articles-to-articles_v2", "load", done)
            sizes.append(Path(store.snapshot("catalog").rpartition(" in ")[2]).stat().st_size)
    grown = sizes[1] - sizes[0]
    assert forecast_of(replace(BILLION, rows=4_000 * 5_000)).catalog_bytes == pytest.approx(grown, rel=0.2)


def test_the_command_plans_without_a_store(capsys):
    plan_(rows=1e9, rate=50, workers=64, price=0.05, as_json=True)
    told = capsys.readouterr()
    plan = json.loads(told.out)["plan"]
    assert (plan["ranges"], plan["limit"]) == (100_000, "embedding")
    assert "1,000,000,000 (given)" in told.err
    assert "(--store scylladb: memory of one vector store, by ScyllaDB's sizing formula)" in told.err


def test_the_command_plans_for_the_named_store(capsys):
    plan_(rows=1e9, rate=50, product="cassandra", as_json=True)
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["plan"]["index_bytes"] == index_size(BILLION, "cassandra").bytes
    assert result["assumed"]["store"] == "cassandra"
    assert "(--store cassandra: index files on disk for one replica" in told.err


def test_the_command_asks_the_store_of_the_settings_for_the_size_of_the_index(capsys, tmp_path):
    (tmp_path / "my.yaml").write_text(
        f"alias: articles\nstore: {{path: {tmp_path / 'articles.sqlite'}}}\n"
        "source: {table: articles, model: {name: old}}\n"
        "target: {table: articles_v2, index: {connections: 32, quantization: f16}}\n"
    )
    plan_(rows=1e9, rate=50, config=tmp_path / "my.yaml", as_json=True)
    told = capsys.readouterr()
    made = index_size(BILLION, "embedded", connections=32, quantization="f16")
    assert json.loads(told.out)["plan"]["index_bytes"] == made.bytes
    assert f"({made.note})" in told.err


def test_a_measured_rate_can_be_used_again(capsys, new_model, tmp_path):
    plan_(rows=1e6, measure=True, model=str(new_model), as_json=True)
    told = capsys.readouterr()
    (tmp_path / "rate.json").write_text(told.out)
    plan_(rows=1e6, measured=tmp_path / "rate.json", as_json=True)
    again = json.loads(capsys.readouterr().out)
    assert again["plan"] == json.loads(told.out)["plan"]
    assert again["assumed"]["dimension"] == 40


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rows": 10, "rate": 5, "measure": True},
        {"rows": 10, "tokens": 10, "text_bytes": 40},
        {"rows": 10, "product": "cassandra", "config": Path("my.yaml")},
    ],
)
def test_a_plan_that_is_not_clear_is_refused(options):
    with pytest.raises(UsageError):
        plan_(**options)


def test_a_file_without_a_rate_is_refused(tmp_path):
    (tmp_path / "rate.json").write_text("{}")
    with pytest.raises(UsageError, match="no measured rate"):
        Rate.from_file(tmp_path / "rate.json")
