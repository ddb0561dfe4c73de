"""What an alias points to: a table, its index, and the model that must embed its questions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from embedshift.errors import ModelUnavailable
from embedshift.settings import IndexSettings, ModelSettings
from embedshift.stores.model import Index

if TYPE_CHECKING:
    from embedshift.embedding import Model


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model as it is recorded: enough to load it again and to check that it is the same.

    The prompts are those that are put before texts. ``own_query_prompt`` and ``own_document_prompt`` are those that the
    model itself names; an earlier version did not look for them, and recorded none.
    """

    name: str
    revision: str | None
    query_prompt: str
    document_prompt: str
    max_length: int | None
    normalize: bool
    precision: Literal["float32", "bfloat16", "float16"]
    dimension: int
    fingerprint: str
    own_query_prompt: str = ""
    own_document_prompt: str = ""
    truncate_dim: int | None = None
    long_texts: Literal["cut", "mean"] = "cut"
    backend: Literal["torch", "onnx", "openvino"] = "torch"
    trust_remote_code: bool = False

    def settings(self, device: str = "auto") -> ModelSettings:
        """The settings that load this model."""
        known = {name: getattr(self, name) for name in ModelSettings.model_fields if name != "device"}
        return ModelSettings(**known, device=device)

    def is_of(self, settings: ModelSettings) -> bool:
        """Whether settings name this model, with these prompts and lengths; the device does not matter."""
        return self.with_prompts(settings).model_copy(update={"device": "auto"}) == self.settings()

    def with_prompts(self, settings: ModelSettings) -> ModelSettings:
        """The settings with the model's own prompts for those that they leave to it."""
        own = {"query_prompt": self.own_query_prompt, "document_prompt": self.own_document_prompt}
        return settings.model_copy(update={name: own[name] for name in own if getattr(settings, name) is None})

    def plain(self) -> dict[str, Any]:
        """The record as JSON has it, without what most models do not have: earlier versions do not know it."""
        unset = {each.name: each.default for each in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != unset[name]}


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
        return json.dumps({**tree, **shape, "index_options": options, "model": self.model.plain()}, sort_keys=True)

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
    if model.fingerprint != record.fingerprint and not _made_before(model, record.fingerprint):
        raise ModelUnavailable(
            f"the model {record.name} has fingerprint {model.fingerprint}, the catalog says {record.fingerprint}",
            hint="put back the model files and library versions of that time",
        )
    return model


def _made_before(model: Model, fingerprint: str) -> bool:
    """Whether an earlier version made the vectors, and as this one does.

    Raises:
        ModelUnavailable: an earlier version made them otherwise.
    """
    from embedshift.embedding import former_fingerprint

    if former_fingerprint(model) != fingerprint:
        return False
    if not model.embeds_as_before:
        name = model.settings.name
        raise ModelUnavailable(
            f"an earlier version of embedshift made the vectors, and embedded with {name} otherwise than its library",
            hint="keep that version until the table is embedded again, see docs/how-to/choose-a-model.md",
        )
    return True


def record_of(model: Model) -> ModelRecord:
    """The record of a loaded model for the catalog."""
    settings = model.settings
    given = {name: getattr(settings, name) for name in ModelSettings.model_fields if name != "device"}
    return ModelRecord(
        **given
        | {
            "query_prompt": model.prompts.query,
            "document_prompt": model.prompts.document,
            "own_query_prompt": model.prompts.own_query,
            "own_document_prompt": model.prompts.own_document,
            "precision": model.precision,
            "dimension": model.dimension,
            "fingerprint": model.fingerprint,
        }
    )
