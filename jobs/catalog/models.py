"""Models as the catalog knows them: loaded, and proved to be the recorded ones."""

from __future__ import annotations

from jobs.catalog.endpoint import Endpoint, ModelRecord
from jobs.embedding import Model, load_model
from jobs.errors import ModelUnavailable


def proven_model(endpoint: Endpoint, device: str = "auto") -> Model:
    """The model of an endpoint, loaded once a process, after it has proved to be the recorded one.

    Args:
        device: where it runs, as ``model.device`` of the settings names it.

    Raises:
        ModelUnavailable: it cannot be loaded, or its fingerprint is another.
    """
    record = endpoint.model
    model = load_model(record.settings(device), record.precision)
    if model.fingerprint != record.fingerprint:
        raise ModelUnavailable(
            f"the model {record.name} has fingerprint {model.fingerprint}, the catalog says {record.fingerprint}",
            hint="put back the model files and library versions of that time",
        )
    return model


def record_of(model: Model) -> ModelRecord:
    """A loaded model as the catalog writes it down."""
    settings = model.settings
    return ModelRecord(
        name=settings.name,
        revision=settings.revision,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
        max_length=settings.max_length,
        normalize=settings.normalize,
        precision=model.precision,
        dimension=model.dimension,
        fingerprint=model.fingerprint,
    )
