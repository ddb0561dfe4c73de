"""What a load of any size will take, by arithmetic alone: ranges, catalog, rates, space, hours and cost."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.catalog.tables import BUCKETS
from jobs.settings import IndexSettings
from jobs.spark.plan import ranges_for
from jobs.stores.contract import Index
from jobs.stores.embedded.index_file import size_of

#: Bytes of one range in the catalog: its keys and counts, and the names of its migration and of its owner.
RANGE_BYTES = 130
#: Bytes of a row beside text and vector: its key, its digest, and the write times of its cells.
_ROW_BYTES = 64
_FLOAT32_BYTES = 4
#: Seconds that Spark takes for a task beside its work, and to start with a model on the workers.
_TASK_S, _START_S = 0.1, 15.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be loaded, and on what.

    Args:
        rows: of the table.
        text_bytes: of a row's text and other columns, on average.
        dimension: of the new vectors.
        index: options of the new index.
        rate: texts that one worker embeds in a second.
        workers: tasks that run at the same time: cores, or GPUs.
        replicas: copies that the database keeps of a row.
        writes: rows that the database takes in a second; None: more than the workers bring.
        price: of one worker for an hour, in any currency; None: unknown.
    """

    rows: int
    text_bytes: float
    dimension: int
    index: IndexSettings
    rate: float
    workers: int
    replicas: int
    writes: float | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What it takes; bytes are of one replica unless they say otherwise, before the store compresses them.

    ``partition_rows`` are the catalog's rows in one of its partitions, ``range_seconds`` the work of one task.
    ``limit`` is what decides the rate, embedding or writing; ``hours`` includes Spark's start and its tasks' own cost.
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
    hours: float
    worker_hours: float
    cost: float | None


def forecast(load: Load) -> Forecast:
    """The figures of a load. Sync and validation read the rows again, and embed few; the index is the database's work.

    No task works alone for long where there are as many ranges as workers; with fewer, some workers have nothing to do.
    """
    ranges = ranges_for(load.rows)
    range_rows = -(-load.rows // ranges)
    embedded = min(load.workers, ranges) * load.rate
    bound = load.writes is not None and load.writes < embedded
    rate = load.writes if bound and load.writes is not None else embedded
    tasks_s = ranges * _TASK_S / min(load.workers, ranges)
    hours = (load.rows / rate + tasks_s + _START_S) / 3600
    row_bytes = load.text_bytes + load.dimension * _FLOAT32_BYTES + _ROW_BYTES
    table = round(load.rows * row_bytes)
    index = size_of(Index("", "", "", load.dimension, load.index), load.rows)
    return Forecast(
        ranges=ranges,
        range_rows=range_rows,
        range_seconds=range_rows / (rate / min(load.workers, ranges)) + _TASK_S,
        catalog_rows=ranges,
        catalog_bytes=ranges * RANGE_BYTES,
        partition_rows=-(-ranges // BUCKETS),
        rows_per_second=rate,
        limit="writing" if bound else "embedding",
        write_bytes_per_second=round(rate * row_bytes * load.replicas),
        table_bytes=table,
        table_bytes_all=table * load.replicas,
        index_bytes=index,
        index_bytes_all=index * load.replicas,
        hours=hours,
        worker_hours=hours * load.workers,
        cost=None if load.price is None else hours * load.workers * load.price,
    )
