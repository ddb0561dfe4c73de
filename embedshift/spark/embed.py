"""The embedding stage: rows that differ come in, the same rows with their vectors go out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import TaskContext

from embedshift.catalog.vector_table import VectorTable, proven_model
from embedshift.embedding import Model, Template, count_gpus, use_threads
from embedshift.spark.rows import ACTION, REASON, Action
from embedshift.spark.transfer import Transfer
from embedshift.spark.worker import keep_for_good

#: Texts of a window held at once as Python strings.
_TEXT_BYTES = 16 * 1024 * 1024


def embed_rows(transfer: Transfer, threads: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Fill in the vectors of the rows that need one. The model is loaded when the first such row comes.

    Args:
        transfer: what is carried.
        threads: threads of one matrix product.
        batches: rows in the schema of ``Layout.schema``, one window each.

    Raises:
        ModelUnavailable: the model cannot be loaded, or is not the recorded one.
    """
    layout = transfer.layout
    template = Template.parse(layout.source.text)
    for rows in batches:
        wanting = np.flatnonzero(rows.column(ACTION).to_numpy() == Action.EMBED)
        if len(wanting) == 0:
            yield rows
            continue
        use_threads(threads)
        model = _model_of_worker(layout.target, transfer.device)
        for part in _bounded(rows):
            yield _embedded(part, model, template, layout.target.vector, transfer.batch_tokens or None)


@lru_cache(maxsize=2)
def _model_of_worker(vector_table: VectorTable, device: str) -> Model:
    model = proven_model(vector_table, _own_device() if device == "auto" else device)
    keep_for_good()
    return model


def _own_device() -> str:
    """The GPU that Spark gave this task, or one of several in turn; a worker keeps the first that it was given."""
    task = TaskContext.get()
    given = task.resources().get("gpu") if task else None
    if given:
        return f"cuda:{given.addresses[0]}"
    gpus = count_gpus()
    return f"cuda:{task.partitionId() % gpus}" if task and gpus > 1 else "auto"


def _bounded(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a window so that long texts do not pile up."""
    parts = max(1, -(-rows.nbytes // _TEXT_BYTES))
    step = max(1, rows.num_rows // parts)
    for start in range(0, rows.num_rows, step):
        yield rows.slice(start, step)


def _embedded(
    rows: pa.RecordBatch, model: Model, template: Template, column: str, batch_tokens: int | None
) -> pa.RecordBatch:
    wanting = np.flatnonzero(rows.column(ACTION).to_numpy() == Action.EMBED)
    if len(wanting) == 0:
        return rows
    texts = template.render(rows.take(pa.array(wanting)))
    embedded = model.embed(texts.to_pylist(), batch_tokens)
    rows = _with_vectors(rows, wanting, embedded.vectors, column)
    dead = np.fromiter(embedded.faults, np.int64, len(embedded.faults))
    return _dead(rows, wanting[dead], list(embedded.faults.values())) if len(dead) else rows


def _with_vectors(
    rows: pa.RecordBatch, at: NDArray[np.int64], vectors: NDArray[np.float32], column: str
) -> pa.RecordBatch:
    made = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    if len(at) < rows.num_rows:
        place = np.full(rows.num_rows, -1, np.int64)
        place[at] = np.arange(len(at))
        made = pc.coalesce(made.take(pa.array(place, mask=place < 0)), rows.column(column))
    return rows.set_column(rows.schema.get_field_index(column), column, made)


def _dead(rows: pa.RecordBatch, at: NDArray[np.int64], reasons: list[str]) -> pa.RecordBatch:
    actions = rows.column(ACTION).to_numpy().copy()
    actions[at] = Action.DEAD
    all_reasons = rows.column(REASON).to_pylist()
    for row, reason in zip(at.tolist(), reasons, strict=True):
        all_reasons[row] = reason
    columns = {ACTION: pa.array(actions, pa.int8()), REASON: pa.array(all_reasons, pa.string())}
    for name, array in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, array)
    return rows
