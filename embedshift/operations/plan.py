"""Plan: what a migration of a table of any size will take, before there is one. Without a store no table is read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from embedshift.catalog.tables import BUCKETS
from embedshift.embedding import Template, load_model
from embedshift.embedding.throughput import Rate, measure_rate
from embedshift.errors import UsageError
from embedshift.settings import IndexSettings, ModelSettings, ServiceSettings, Settings
from embedshift.spark.ranges import ranges_for
from embedshift.steps.service_cost import BYTES_A_TOKEN, ServiceCost, in_words
from embedshift.stores import Product, computed_index_size
from embedshift.stores.contract import Store
from embedshift.stores.model import Index, IndexSize
from embedshift.telemetry.console import Console
from embedshift.tokens import WHOLE_RING

#: The product whose formula gives the size of the index if neither a store nor a product is named.
PRODUCT: Product = "scylladb"
#: Bytes of one range in the catalog: its keys and counts, and the names of its migration and of its owner.
RANGE_BYTES = 130
#: Bytes of a row beside text and vector: its key, its digest, and the write times of its cells.
_ROW_BYTES = 64
_FLOAT32_BYTES = 4
#: Seconds that Spark takes for each task in addition to its work, and to start with a model on the workers.
_TASK_S, _START_S = 0.1, 15.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be loaded, and with which resources.

    Args:
        rows: of the table.
        text_bytes: of a row's text and other columns, on average.
        dimension: of the new vectors.
        rate: texts that one worker embeds per second.
        workers: tasks that run at the same time: cores, or GPUs.
        replicas: copies that the database keeps of a row.
        writes: rows that the database accepts per second; None: more than the workers produce.
        served: rows that the limits of an embedding service allow per second; None: there are none.
        price: of one worker for an hour, in any currency; None: unknown.
    """

    rows: int
    text_bytes: float
    dimension: int
    rate: float
    workers: int
    replicas: int
    writes: float | None = None
    price: float | None = None
    served: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a load takes. Bytes are of one replica, unless the name ends in ``_all``, and before compression.

    ``partition_rows`` are the catalog's rows in one of its partitions, ``range_seconds`` the work of one task.
    ``limit`` is what decides the rate: embedding, writing, or the service. ``index_note`` is what the index's bytes
    are.
    ``log_bytes_all`` is what the log of a table takes that the index needs, if ``LOG_SHARE`` of the rows are written in
    a day; 0 where there is none.
    ``hours`` includes Spark's start and its cost for each task.
    """

    ranges: int
    range_rows: int
    range_seconds: float
    catalog_rows: int
    catalog_bytes: int
    partition_rows: int
    rows_per_second: float
    limit: str
    write_bytes_per_second: int
    table_bytes: int
    table_bytes_all: int
    index_bytes: int
    index_bytes_all: int
    index_note: str
    log_bytes_all: int
    hours: float
    worker_hours: float
    cost: float | None


#: Of the rows, for which the log is computed.
LOG_SHARE = 0.01


def forecast(load: Load, index: IndexSize) -> Forecast:
    """The figures of a load.

    Sync and validation read the rows again and embed few of them; the database builds the index. They are not included.
    If there are fewer ranges than workers, some workers have nothing to do.

    Args:
        load: the load.
        index: the size of one copy of the new index.
    """
    ranges = ranges_for(load.rows)
    range_rows = -(-load.rows // ranges)
    rates = {"embedding": min(load.workers, ranges) * load.rate, "writing": load.writes, "the service": load.served}
    rate, limit = min((rate, limit) for limit, rate in rates.items() if rate is not None)
    tasks_s = ranges * _TASK_S / min(load.workers, ranges)
    hours = (load.rows / rate + tasks_s + _START_S) / 3600
    row_bytes = load.text_bytes + load.dimension * _FLOAT32_BYTES + _ROW_BYTES
    table = round(load.rows * row_bytes)
    return Forecast(
        ranges=ranges,
        range_rows=range_rows,
        range_seconds=range_rows / (rate / min(load.workers, ranges)) + _TASK_S,
        catalog_rows=ranges,
        catalog_bytes=ranges * RANGE_BYTES,
        partition_rows=-(-ranges // BUCKETS),
        rows_per_second=rate,
        limit=limit,
        write_bytes_per_second=round(rate * row_bytes * load.replicas),
        table_bytes=table,
        table_bytes_all=table * load.replicas,
        index_bytes=index.bytes,
        index_bytes_all=index.bytes * load.replicas,
        index_note=index.note,
        log_bytes_all=round(LOG_SHARE * table * load.replicas * index.log_days),
        hours=hours,
        worker_hours=hours * load.workers,
        cost=None if load.price is None else hours * load.workers * load.price,
    )


#: Without a measured rate: all-MiniLM-L6-v2 in float32 on one core, texts of about a thousand bytes.
_GUESS = Rate("all-MiniLM-L6-v2, a guess", 384, 45.0, 1000.0, 220.0, 200.0, 256)
_MODEL = "package:all-MiniLM-L6-v2"
#: Texts of the sample that is embedded to measure.
_SAMPLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line names. What is None comes from the table, from the measured rate, or from a default."""

    rows: float | None = None
    text_bytes: float | None = None
    dimension: int | None = None
    rate: float | None = None
    workers: int = 8
    replicas: int = 3
    writes: float | None = None
    price: float | None = None
    product: Product | None = None


def plan(
    given: Given,
    console: Console,
    *,
    measured: Rate | None = None,
    measure: bool = False,
    model: str | None = None,
    settings: Settings | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Forecast the load, and print the basis of each figure.

    Args:
        given: what the command line names.
        console: prints the lines.
        measured: a rate that was measured before.
        measure: measure the rate of the model now, on texts of the table, or of the demo's articles without a table.
        model: the model to measure; if None, that of the settings, or the demo's.
        settings: name the table and the options of the new index.
        store: gives the number of rows, texts, and the size of the index.

    Raises:
        UsageError: the number of rows is neither given nor known.
        ModelUnavailable: the model cannot be loaded.
    """
    rows, source = given.rows, "given"
    if rows is None and settings and store:
        rows, source = store.estimate(settings.source.table).rows, f"estimated by the store for {settings.source.table}"
    if not rows:
        raise UsageError("the number of rows is unknown", hint="add --rows 1e9, or name a table with --config")
    service = None if settings is None or model else settings.target_model.service
    if measure:
        if service is not None:
            console.say(f"sends up to {_SAMPLE_ROWS} texts of the table to {service.url}, once")
        measured = _measured_here(model, settings, store)
    known = measured or _GUESS
    text_bytes = given.text_bytes or known.text_bytes
    load = Load(
        rows=round(rows),
        text_bytes=text_bytes,
        dimension=given.dimension or known.dimension,
        rate=given.rate or known.of_texts(text_bytes),
        workers=given.workers,
        replicas=given.replicas,
        writes=given.writes,
        price=given.price,
        served=None if service is None else _served(service, text_bytes),
    )
    rate_from = "given" if given.rate else f"measured, {known.model}" if measured else known.model
    options = settings.target.index if settings else IndexSettings()
    product = given.product or PRODUCT
    made = forecast(load, _index_size(load, options, product, store))
    for line in (*_assumed(load, source, rate_from), "", *_in_words(made, "" if store else f"--store {product}: ")):
        console.say(line)
    paid: dict[str, Any] = {}
    if settings is not None and service is not None:
        of_service = ServiceCost.of(settings.target_model, load.rows, text_bytes)
        console.say(f"service   {in_words(settings.target_model, of_service)}")
        paid = {"service": asdict(of_service)}
    assumed = {**asdict(load), "index": options.model_dump(exclude_none=True), "store": None if store else product}
    return {"plan": asdict(made), "assumed": assumed, **paid} | ({"measured": asdict(measured)} if measured else {})


def _served(service: ServiceSettings, text_bytes: float) -> float | None:
    """Rows per second that the limits of a service allow."""
    tokens = text_bytes / BYTES_A_TOKEN
    rates = []
    if service.tokens_per_minute is not None:
        rates.append(service.tokens_per_minute / 60 / tokens)
    if service.requests_per_minute is not None:
        texts = max(1.0, min(service.batch_texts, service.batch_tokens / tokens))
        rates.append(service.requests_per_minute / 60 * texts)
    return min(rates, default=None)


def _index_size(load: Load, options: IndexSettings, product: Product, store: Store | None) -> IndexSize:
    """The size of one copy of the new index, by the formula of the store, or of the product if no store is open."""
    # An index of this name does not exist, so that the store computes the size and does not measure another index.
    index = Index("", "", "", load.dimension, options)
    return store.index_size(index, load.rows) if store else computed_index_size(product, index, load.rows)


def _measured_here(model: str | None, settings: Settings | None, store: Store | None) -> Rate:
    named = settings.target_model if settings and not model else ModelSettings(name=model or _MODEL)
    texts = _texts_of_table(settings, store) if settings and store else _texts_of_demo()
    if not texts:
        raise UsageError(
            "the table holds no text to measure on", hint="leave out --config to measure on the demo's articles"
        )
    # What a service embeds is paid for: once is enough.
    return measure_rate(load_model(named), texts, **({} if named.service is None else {"seconds": 0}))


def _texts_of_table(settings: Settings, store: Store) -> list[str]:
    table, template = store.describe(settings.source.table), Template.parse(settings.source.text)
    values = [name for name in template.columns if name not in {key.name for key in table.keys}]
    texts: list[str] = []
    for batch in store.scan(table, WHOLE_RING, values=values, batch_rows=_SAMPLE_ROWS):
        texts += [text for text in template.render(batch).to_pylist() if text]
        if len(texts) >= _SAMPLE_ROWS:
            break
    return texts[:_SAMPLE_ROWS]


def _texts_of_demo() -> list[str]:
    lines = (files("embedshift") / "data" / "demo" / "articles.jsonl").read_text(encoding="utf-8").splitlines()
    articles = [json.loads(line) for line in lines[:_SAMPLE_ROWS]]
    return [f"{each['title']}. {each['content']}" for each in articles]


def _assumed(load: Load, rows_from: str, rate_from: str) -> list[str]:
    writes = "all rows that the workers produce" if load.writes is None else f"{load.writes:,.0f} rows per second"
    price = "unknown (--price)" if load.price is None else f"{load.price:g} per hour each"
    return [
        f"rows      {load.rows:,} ({rows_from}), texts of {load.text_bytes:,.0f} bytes, {load.dimension} dimensions",
        f"workers   {load.workers}, each {load.rate:,.1f} texts per second ({rate_from}); price {price}",
        f"database  {load.replicas} replicas, accepts {writes}",
    ]


def _in_words(made: Forecast, formula: str) -> list[str]:
    cost = "" if made.cost is None else f", cost {made.cost:,.2f}"
    return [
        f"ranges    {made.ranges:,} of {made.range_rows:,} rows, {made.range_seconds:,.0f} s each",
        f"catalog   {made.catalog_rows:,} rows, {_size(made.catalog_bytes)}, "
        f"{made.partition_rows:,} rows per partition",
        f"rate      {made.rows_per_second:,.0f} rows per second, limited by {made.limit}; "
        f"{_size(made.write_bytes_per_second)} per second to all replicas",
        f"table     {_size(made.table_bytes)} per replica, {_size(made.table_bytes_all)} in all, before compression",
        f"index     {_size(made.index_bytes)} per replica, {_size(made.index_bytes_all)} in all "
        f"({formula}{made.index_note})",
        *_log(made),
        f"time      {made.hours:,.1f} hours to load, {made.worker_hours:,.1f} worker hours{cost}",
        "not included: the build of the index by the database, sync and validation",
    ]


def _log(made: Forecast) -> list[str]:
    if not made.log_bytes_all:
        return []
    return [
        f"log       {_size(made.log_bytes_all)} in all if {LOG_SHARE:.0%} of the rows are written in a day: the index "
        "needs the log"
    ]


def _size(count: int) -> str:
    for power, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= power:
            return f"{count / power:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"
