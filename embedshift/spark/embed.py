"""The embedding stage: windows come in, the same with their vectors go out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import TaskContext

from embedshift.catalog.vector_table import VectorTable, proven_model
from embedshift.embedding import Model, Template, Texts, count_gpus
from embedshift.errors import EmbedshiftError
from embedshift.spark.allowance import RunAllowance
from embedshift.spark.rows import ACTION, REASON, Action, Window
from embedshift.spark.throttle import throttle_reader
from embedshift.spark.transfer import Transfer
from embedshift.spark.worker import keep_for_good
from embedshift.stores.contract import Store

#: Texts of a window held at once as Python strings.
TEXTS_MAX_BYTES = 16 * 1024 * 1024


class EmbeddingStage:
    """Embeds the rows of windows that want it. The model is loaded when the first such row comes.

    ``tokenized`` may run in another thread, ahead of ``embedded``.

    Args:
        catalog: knows the answers of a service's model, and has its account.
        transfer: what is carried.
        threads: threads of one matrix product.
        loading: is called before the model is loaded, which may take a while.
    """

    def __init__(
        self, catalog: Store, transfer: Transfer, threads: int, loading: Callable[[], object] = lambda: None
    ) -> None:
        self._catalog = catalog
        self._transfer, self._threads, self._loading = transfer, threads, loading
        self._template = Template.parse(transfer.layout.source.text)
        self._model: Model | None = None
        self._prepared: list[Texts] = []

    def tokenized(self, window: Window) -> Iterator[Window]:
        """The window, cut so that long texts do not pile up, with the texts that are to be embedded.

        Raises:
            ModelUnavailable: the model cannot be loaded, or is not the recorded one.
        """
        if not len(_wanting(window.rows)):
            yield window
            return
        model = self._loaded()
        counts = {"counts": window.counts}
        for rows in bounded(window.rows, self._transfer.window_rows):
            wanting = _wanting(rows)
            texts = self._template.render(rows.take(pa.array(wanting))).to_pylist() if len(wanting) else []
            prepared = model.tokenized(texts)
            self._prepared.append(prepared)
            yield Window(rows, texts=prepared, **counts)
            counts = {}

    def embedded(self, window: Window, told: Callable[[int], object] | None = None) -> Window:
        """The window with its vectors; a row that cannot be embedded becomes a dead one.

        Args:
            told: is called with the number of texts of each batch that is under way.
        """
        if window.texts is None:
            return window
        self._loaded().use_threads(self._threads)
        embedded = self._with_vectors(window.rows, window.texts, told)
        self._prepared.remove(window.texts)
        return replace(window, rows=embedded, texts=None)

    def stop(self, error: EmbedshiftError) -> None:
        """An error ends the whole run: this process asks the service for nothing more."""
        if (allowance := allowance_of_worker(self._catalog, self._transfer)) is not None:
            allowance.stop(error)

    def end(self) -> None:
        """No other window comes: send no more requests, and put the account right for those that were answered."""
        for texts in self._prepared:
            texts.cancel()
        if (allowance := allowance_of_worker(self._catalog, self._transfer)) is not None:
            allowance.flush()

    def _loaded(self) -> Model:
        if self._model is None:
            self._loading()
            allowance = allowance_of_worker(self._catalog, self._transfer)
            if allowance is not None:
                allowance.check()
            vector_table, device = self._transfer.layout.target, self._transfer.device
            self._model = model_of_worker(self._catalog, vector_table, device, allowance)
        return self._model

    def _with_vectors(self, rows: pa.RecordBatch, texts: Texts, told: Callable[[int], object] | None) -> pa.RecordBatch:
        wanting = _wanting(rows)
        if not len(wanting):
            return rows
        embedded = self._loaded().embed_texts(texts, self._transfer.batch_tokens or None, told)
        rows = _with_vectors(rows, wanting, embedded.vectors, self._transfer.layout.target.vector)
        dead = np.fromiter(embedded.faults, np.int64, len(embedded.faults))
        return _dead(rows, wanting[dead], list(embedded.faults.values())) if len(dead) else rows


def model_of_worker(
    catalog: Store, vector_table: VectorTable, device: str, allowance: RunAllowance | None = None
) -> Model:
    """The model of a vector table; a worker process keeps it for its next ranges. Raises ModelUnavailable."""
    if vector_table.model.service is None and device == "auto":
        device = _own_device()
    key = (vector_table, device, allowance)
    if key not in _models:
        if len(_models) >= _MODELS_MAX:
            _models.clear()
        _models[key] = proven_model(catalog, vector_table, device, allowance)
        keep_for_good()
    return _models[key]


def allowance_of_worker(catalog: Store, transfer: Transfer) -> RunAllowance | None:
    """What the requests of this process are counted against, for a run and its step; None if no service is asked."""
    if transfer.layout.target.model.service is None:
        return None
    key = (transfer.migration, transfer.step, transfer.owner, os.getpid())
    if key not in _allowances:
        _allowances.clear()  # those of steps that are over
        state = throttle_reader(catalog, transfer).now
        model = transfer.layout.target.model
        _allowances[key] = RunAllowance(
            catalog, transfer.migration, model.fingerprint, model.settings(), transfer.owner, state
        )
    return _allowances[key]


#: What this worker process keeps for its next ranges: its allowance by its run, and its models.
_allowances: dict[tuple[object, ...], RunAllowance] = {}
_models: dict[tuple[VectorTable, str, RunAllowance | None], Model] = {}
_MODELS_MAX = 2


def _own_device() -> str:
    """The GPU that Spark gave this task, or one of several in turn; a worker keeps the first that it was given."""
    task = TaskContext.get()
    given = task.resources().get("gpu") if task else None
    if given:
        return f"cuda:{given.addresses[0]}"
    gpus = count_gpus()
    return f"cuda:{task.partitionId() % gpus}" if task and gpus > 1 else "auto"


def _wanting(rows: pa.RecordBatch) -> NDArray[np.int64]:
    """Which rows are to be embedded."""
    return np.flatnonzero(rows.column(ACTION).to_numpy() == Action.EMBED)


def bounded(rows: pa.RecordBatch, rows_max: int) -> Iterator[pa.RecordBatch]:
    """Cut a window so that neither rows nor long texts pile up."""
    parts = max(1, -(-rows.nbytes // TEXTS_MAX_BYTES), -(-rows.num_rows // rows_max))
    step = max(1, -(-rows.num_rows // parts))
    for start in range(0, rows.num_rows, step):
        yield rows.slice(start, step)


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
