"""Plan: what a migration of a table of any size will take, before there is one. No table is touched unless asked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import Any

from jobs.console import Console
from jobs.embedding import Template, load_model
from jobs.embedding.rate import Rate, measure_rate
from jobs.errors import UsageError
from jobs.settings import IndexSettings, ModelSettings, Settings
from jobs.spark.forecast import Forecast, Load, forecast
from jobs.stores.contract import Store
from jobs.tokens import WHOLE_RING

#: Without a measured rate: all-MiniLM-L6-v2 in float32 on one core, texts of about a thousand bytes.
_GUESS = Rate("all-MiniLM-L6-v2, a guess", 384, 45.0, 1000.0, 220.0, 200.0, 256)
_MODEL = "package:all-MiniLM-L6-v2"
#: Texts of the sample that is embedded to measure.
_SAMPLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line names; None is taken from the table, from the measured rate, or by default."""

    rows: float | None = None
    text_bytes: float | None = None
    dimension: int | None = None
    rate: float | None = None
    workers: int = 8
    replicas: int = 3
    writes: float | None = None
    price: float | None = None


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
    """Forecast the load, and say what each figure rests on.

    Args:
        measured: a rate that was measured before.
        measure: measure the rate of the model now, on texts of the table, or of the demo's articles without one.
        model: to measure; that of the settings, or the demo's, where left out.
        settings, store: where the table is asked for its rows, and for texts.

    Raises:
        UsageError: the rows are neither given nor known.
        ModelUnavailable: the model cannot be loaded.
    """
    index = settings.target.index if settings else IndexSettings()
    rows, source = given.rows, "given"
    if rows is None and settings and store:
        rows, source = store.estimate(settings.source.table).rows, f"estimated by the store for {settings.source.table}"
    if not rows:
        raise UsageError("how many rows the table has is unknown", hint="say --rows 1e9, or name a table by --config")
    if measure:
        measured = _measured_here(model, settings, store)
    known = measured or _GUESS
    text_bytes = given.text_bytes or known.text_bytes
    load = Load(
        rows=round(rows),
        text_bytes=text_bytes,
        dimension=given.dimension or known.dimension,
        index=index,
        rate=given.rate or known.of_texts(text_bytes),
        workers=given.workers,
        replicas=given.replicas,
        writes=given.writes,
        price=given.price,
    )
    rate_from = "given" if given.rate else f"measured, {known.model}" if measured else known.model
    made = forecast(load)
    for line in (*_assumed(load, source, rate_from), "", *_in_words(made)):
        console.say(line)
    result = {"plan": asdict(made), "assumed": {**asdict(replace(load, index=index)), "index": index.model_dump()}}
    return result | ({"measured": asdict(measured)} if measured else {})


def _measured_here(model: str | None, settings: Settings | None, store: Store | None) -> Rate:
    named = settings.target_model if settings and not model else ModelSettings(name=model or _MODEL)
    texts = _texts_of_table(settings, store) if settings and store else _texts_of_demo()
    if not texts:
        raise UsageError("the table holds no text to measure on", hint="leave --config out: the demo's articles serve")
    return measure_rate(load_model(named), texts)


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
    lines = (files("jobs") / "data" / "demo" / "articles.jsonl").read_text(encoding="utf-8").splitlines()
    articles = [json.loads(line) for line in lines[:_SAMPLE_ROWS]]
    return [f"{each['title']}. {each['content']}" for each in articles]


def _assumed(load: Load, rows_from: str, rate_from: str) -> list[str]:
    writes = "as many as they bring" if load.writes is None else f"{load.writes:,.0f} rows a second"
    price = "unknown (--price)" if load.price is None else f"{load.price:g} an hour each"
    return [
        f"rows      {load.rows:,} ({rows_from}), texts of {load.text_bytes:,.0f} bytes, {load.dimension} dimensions",
        f"workers   {load.workers}, each {load.rate:,.1f} texts a second ({rate_from}); price {price}",
        f"database  {load.replicas} replicas, takes {writes}",
    ]


def _in_words(made: Forecast) -> list[str]:
    cost = "" if made.cost is None else f", cost {made.cost:,.2f}"
    return [
        f"ranges    {made.ranges:,} of {made.range_rows:,} rows, {made.range_seconds:,.0f} s each",
        f"catalog   {made.catalog_rows:,} rows, {_size(made.catalog_bytes)}, {made.partition_rows:,} rows a partition",
        f"rate      {made.rows_per_second:,.0f} rows a second, limited by {made.limit}; "
        f"{_size(made.write_bytes_per_second)} a second to all replicas",
        f"table     {_size(made.table_bytes)} a replica, {_size(made.table_bytes_all)} in all, before compression",
        f"index     {_size(made.index_bytes)} of memory a replica, {_size(made.index_bytes_all)} in all",
        f"time      {made.hours:,.1f} hours to load, {made.worker_hours:,.1f} worker hours{cost}",
        "not in it: building the index, which is the database's work, sync and validation",
    ]


def _size(count: int) -> str:
    for power, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= power:
            return f"{count / power:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"
