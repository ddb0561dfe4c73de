"""What an alias points to: a table, its index, and the model that must embed its questions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from embedshift.errors import ModelUnavailable
from embedshift.settings import IndexSettings, ModelSettings
from embedshift.stores.model import Index

if TYPE_CHECKING:
    from embedshift.embedding import Model


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model as it is recorded: enough to load it again and to check that it is the same."""

    name: str
    revision: str | None
    query_prompt: str
    document_prompt: str
    max_length: int | None
    normalize: bool
    precision: Literal["float32", "bfloat16", "float16"]
    dimension: int
    fingerprint: str

    def settings(self, device: str = "auto") -> ModelSettings:
        """The settings that load this model."""
        return ModelSettings(
            name=self.name,
            revision=self.revision,
            query_prompt=self.query_prompt,
            document_prompt=self.document_prompt,
            max_length=self.max_length,
            normalize=self.normalize,
            device=device,
        )


@dataclass(frozen=True, slots=True)
class VectorTable:
    """A table, the template of its texts, the column and index of its vectors, and their model.

    ``digests`` says whether the table has the column ``embedding_digest``. ``partition`` and ``filtering`` are those of
    the index.
    """

    table: str
    id: str
    text: str
    vector: str
    digests: bool
    index_name: str
    index_options: IndexSettings
    model: ModelRecord
    partition: tuple[str, ...] = ()
    filtering: tuple[str, ...] = ()

    @property
    def index(self) -> Index:
        """The vector index, as the store describes it."""
        dimension = self.model.dimension
        shape = self.partition, self.filtering
        return Index(self.index_name, self.table, self.vector, dimension, self.index_options, *shape)

    def to_json(self) -> str:
        """The text for the catalog."""
        tree = {name: getattr(self, name) for name in ("table", "id", "text", "vector", "digests", "index_name")}
        options = self.index_options.model_dump(mode="json", exclude_unset=True)
        # Only where there are any: programs of an earlier version read the others.
        shape = {name: getattr(self, name) for name in ("partition", "filtering") if getattr(self, name)}
        return json.dumps({**tree, **shape, "index_options": options, "model": asdict(self.model)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> VectorTable:
        """The inverse of ``to_json``."""
        tree = json.loads(text)
        tree["index_options"] = IndexSettings.model_validate(tree["index_options"])
        tree["model"] = ModelRecord(**tree["model"])
        tree |= {name: tuple(tree[name]) for name in ("partition", "filtering") if name in tree}
        return cls(**tree)


def index_name(table: str, vector: str) -> str:
    """The name of a table's vector index."""
    return f"{table}_{vector}_ann"


def proven_model(vector_table: VectorTable, device: str = "auto") -> Model:
    """The model of a vector table, loaded once per process and checked against the recorded fingerprint.

    Args:
        device: where it runs, as ``model.device`` in the settings.

    Raises:
        ModelUnavailable: it cannot be loaded, or has another fingerprint.
    """
    # Only here: most of who reads the catalog embeds nothing.
    from embedshift.embedding import load_model

    record = vector_table.model
    model = load_model(record.settings(device), record.precision)
    if model.fingerprint != record.fingerprint:
        raise ModelUnavailable(
            f"the model {record.name} has fingerprint {model.fingerprint}, the catalog says {record.fingerprint}",
            hint="put back the model files and library versions of that time",
        )
    return model


def record_of(model: Model) -> ModelRecord:
    """The record of a loaded model for the catalog."""
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
