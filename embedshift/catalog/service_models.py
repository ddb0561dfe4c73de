"""Models of services as the catalog knows them: an id that was made once, and the answers that it stands for.

The answers are written before the row that names the id, so that whoever finds the row finds all of them.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping

import numpy as np

from embedshift.catalog.tables import SERVICE_ANSWER, SERVICE_MODEL
from embedshift.embedding import ServiceModel
from embedshift.embedding.contract import Task
from embedshift.embedding.service.model import Answers
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us


def identify(store: Store, model: ServiceModel) -> None:
    """Give a service's model the fingerprint under which the catalog knows it, and a new one if it knows none.

    Under another name, or at another address, it is the same model if it gives the same answers.

    Raises:
        ModelUnavailable: the service does not answer, or refuses every text.
    """
    answers, options = model.answers(), options_of(model)
    for row in sorted(store.records.select(SERVICE_MODEL, {}), key=lambda each: each["made_us"]):
        if row["options"] != options:
            continue
        recorded = answers_of(store, row["fingerprint"])
        if model.agrees(answers, recorded):
            model.known_as(row["fingerprint"], recorded)
            return
    fingerprint = uuid.uuid4().hex
    store.records.put(SERVICE_ANSWER, [_row(fingerprint, *each) for each in _each(answers)])
    made: Record = {"fingerprint": fingerprint, "name": model.settings.name, "options": options, "made_us": now_us()}
    store.records.put(SERVICE_MODEL, [made])
    model.known_as(fingerprint, answers)


def options_of(model: ServiceModel) -> str:
    """What decides a vector beside the model itself, as text: dimension, fields, prompts, normalisation."""
    chosen = {
        **model.service.identity,
        "dimension": model.dimension,
        "document_prompt": model.prompts.document,
        "query_prompt": model.prompts.query,
        "normalize": model.settings.normalize,
    }
    return json.dumps(chosen, sort_keys=True)


def answers_of(store: Store, fingerprint: str) -> dict[Task, Answers]:
    """The recorded answers of a model in both roles; empty if there are none."""
    found: dict[Task, dict[int, np.ndarray | None]] = {}
    if store.records.has(SERVICE_ANSWER):
        for row in store.records.select(SERVICE_ANSWER, {"fingerprint": fingerprint}):
            vector = None if not row["vector"] else np.frombuffer(base64.b64decode(row["vector"]), "<f4")
            found.setdefault(row["role"], {})[row["number"]] = vector
    return dict(found)


def _each(answers: Mapping[Task, Answers]) -> list[tuple[Task, int, np.ndarray | None]]:
    return [(task, number, vector) for task, found in answers.items() for number, vector in found.items()]


def _row(fingerprint: str, task: Task, number: int, vector: np.ndarray | None) -> Record:
    text = "" if vector is None else base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return {"fingerprint": fingerprint, "role": task, "number": number, "vector": text}
