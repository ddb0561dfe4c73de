"""What an alias points to: a table, its index, and the model that must embed its questions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from embedshift.errors import ModelUnavailable
from embedshift.settings import IndexSettings, ModelSettings, ServiceSettings, Settings
from embedshift.stores.contract import Store
from embedshift.stores.model import Index

if TYPE_CHECKING:
    from embedshift.embedding import Model
    from embedshift.embedding.service.allowance import Allowance


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
    service: ServiceSettings | None = None

    def settings(self, device: str = "auto") -> ModelSettings:
        """The settings that load this model."""
        known = {name: getattr(self, name) for name in ModelSettings.model_fields if name != "device"}
        return ModelSettings(**known, device=device)

    def is_of(self, settings: ModelSettings) -> bool:
        """Whether settings name this model, with these prompts and lengths; device and address do not matter."""
        return self.may_be(settings) and settings.name == self.name

    def may_be(self, settings: ModelSettings) -> bool:
        """The same, but a service may have the model under another name: only its answers can tell."""
        asked = self.with_prompts(settings).model_copy(update={"device": "auto"})
        if self.service is not None and asked.service is not None:
            if asked.service.identity != self.service.identity:
                return False
            asked = asked.model_copy(update={"service": self.service, "name": self.name})
        return asked == self.settings()

    def reached_by(self, settings: ModelSettings) -> ModelRecord:
        """The record with the name and the address under which settings reach the model's service."""
        return replace(self, name=settings.name, service=settings.service)

    def with_prompts(self, settings: ModelSettings) -> ModelSettings:
        """The settings with the model's own prompts for those that they leave to it."""
        own = {"query_prompt": self.own_query_prompt, "document_prompt": self.own_document_prompt}
        return settings.model_copy(update={name: own[name] for name in own if getattr(settings, name) is None})

    def plain(self) -> dict[str, Any]:
        """The record as JSON has it, without what most models do not have: earlier versions do not know it."""
        unset = {each.name: each.default for each in fields(self)}
        tree = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.service is not None:
            tree["service"] = self.service.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in tree.items() if value != unset[name]}

    @classmethod
    def of_plain(cls, tree: Mapping[str, Any]) -> ModelRecord:
        """The inverse of ``plain``."""
        service = tree.get("service")
        return cls(**{**tree, "service": None if service is None else ServiceSettings.model_validate(service)})


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
        tree["model"] = ModelRecord.of_plain(tree["model"])
        tree |= {name: tuple(tree[name]) for name in ("partition", "filtering") if name in tree}
        return cls(**tree)


def index_name(table: str, vector: str) -> str:
    """The name of a table's vector index."""
    return f"{table}_{vector}_ann"


def reached(vector_table: VectorTable, settings: Settings) -> VectorTable:
    """A vector table whose model, if a service has it, is asked where the settings say, and not where it was once.

    Args:
        settings: its models are those of its two tables; for any other table the catalog says where its model is.
    """
    record = vector_table.model
    named = {settings.target.table: settings.target_model, settings.source.table: settings.source.model}
    sides = [*(each for each in named.values() if each.name == record.name), named.get(vector_table.table)]
    for each in sides:
        if record.service is not None and each is not None and each.service is not None and record.may_be(each):
            return replace(vector_table, model=record.reached_by(each))
    return vector_table


def proven_model(
    store: Store, vector_table: VectorTable, device: str = "auto", allowance: Allowance | None = None
) -> Model:
    """The model of a vector table, loaded once per process and checked against the recorded fingerprint.

    Args:
        store: has the catalog, which knows the answers of a service's model.
        vector_table: whose vectors it makes.
        device: where it runs, as ``model.device`` in the settings.
        allowance: what requests to a service are counted against; None: nothing.

    Raises:
        ModelUnavailable: it cannot be loaded, or has another fingerprint.
    """
    # Only here: most of who reads the catalog embeds nothing.
    from embedshift.catalog.service_models import answers_of
    from embedshift.embedding import ServiceModel, load_model

    record = vector_table.model
    model = load_model(record.settings(device), record.precision)
    if isinstance(model, ServiceModel):
        model = model if allowance is None else model.under(allowance)
        if model.fingerprint != record.fingerprint:
            model.prove(record.fingerprint, answers_of(store, record.fingerprint))
        return model
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
    from embedshift.embedding import LocalModel

    if not isinstance(model, LocalModel) or model.former_fingerprint != fingerprint:
        return False
    if not model.embeds_as_before:
        name = model.settings.name
        raise ModelUnavailable(
            f"an earlier version of embedshift made the vectors, and embedded with {name} otherwise than its library",
            hint="keep that version until the table is embedded again, see docs/how-to/choose-a-model.md",
        )
    return True


def is_served(store: Store, record: ModelRecord, settings: ModelSettings) -> bool:
    """Whether settings mean a recorded model; a service is asked if it has the model under another name.

    Raises:
        ModelUnavailable: that service does not answer.
    """
    if settings.name == record.name or record.service is None or not record.may_be(settings):
        return record.is_of(settings)
    from embedshift.catalog.service_models import answers_of
    from embedshift.embedding import ServiceModel, load_model

    model = load_model(settings)
    assert isinstance(model, ServiceModel)
    recorded = answers_of(store, record.fingerprint)
    return bool(recorded) and model.agrees(model.answers(), recorded)


def record_of(model: Model, store: Store | None = None) -> ModelRecord:
    """The record of a loaded model for the catalog, which gives a service's model its fingerprint.

    Args:
        model: the model.
        store: has the catalog, which records the answers of a service's model; without, that has no fingerprint yet.

    Raises:
        ModelUnavailable: a service does not answer.
    """
    from embedshift.catalog.service_models import identify
    from embedshift.embedding import ServiceModel

    if store is not None and isinstance(model, ServiceModel) and not model.fingerprint:
        identify(store, model)
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
