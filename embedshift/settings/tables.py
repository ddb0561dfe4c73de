"""Settings of the two tables: their models, texts and indexes."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from embedshift.settings.service import ServiceSettings
from embedshift.settings.values import Duration, Frozen, TableName

#: What only a model that is loaded here can have.
_LOADED_ONLY = {
    "revision": "the service decides which version answers",
    "max_length": "set service.max_characters",
    "long_texts": "set service.max_characters",
    "truncate_dim": "set service.dimensions",
    "backend": "the service computes",
    "trust_remote_code": "the service computes",
}


class ModelSettings(Frozen):
    """An embedding model, as sentence-transformers loads it, or as a service has it."""

    name: str = Field(
        min_length=1,
        description="a name on the hub, a folder, or package:NAME for a model that an installed package contains; "
        "with service, the name under which that knows it",
    )
    revision: str | None = Field(None, description="commit or tag on the hub; without one, the model may change")
    query_prompt: str | None = Field(None, description="put before every question; if null, the model's own prompt")
    document_prompt: str | None = Field(None, description="put before every document; if null, the model's own prompt")
    max_length: int | None = Field(None, ge=8, description="maximum tokens of a text; if null, the model's own limit")
    long_texts: Literal["cut", "mean"] = Field(
        "cut",
        description="a document longer than that is cut; or it gets the mean of its windows' vectors, by their tokens",
    )
    truncate_dim: int | None = Field(
        None, ge=1, strict=True, description="dimensions to keep of a Matryoshka model; if null, as the model was saved"
    )
    normalize: bool = Field(True, description="scale every vector to length 1, after truncate_dim")
    backend: Literal["torch", "onnx", "openvino"] = Field(
        "torch", description="what computes; onnx and openvino need packages that sentence-transformers names"
    )
    trust_remote_code: bool = Field(
        False, description="run Python code that the model brings; revision must name the commit that you have read"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto uses a GPU if there is one")

    service: ServiceSettings | None = Field(
        None, description="the service that has the model; if null, the model is loaded and computed here"
    )

    @model_validator(mode="after")
    def _of_a_service(self) -> ModelSettings:
        if self.service is not None:
            for name, instead in _LOADED_ONLY.items():
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is for models that are loaded here: {instead}")
        return self

    @model_validator(mode="after")
    def _pinned_code(self) -> ModelSettings:
        if self.trust_remote_code and not self.revision:
            raise ValueError("trust_remote_code runs the model's own code, so revision must name the commit")
        return self


class SourceSettings(Frozen):
    """The live table."""

    table: TableName = Field(description="the table that the alias names before the migration")
    id: str = Field("id", description="the column with the id of an article, which questions use too")
    text: str = Field("{title}. {content}", description="what is embedded: a template over columns")
    vector: str = Field("embedding", description="the column of the vectors")
    model: ModelSettings = Field(description="the model that made the vectors now in the table")


class IndexSettings(Frozen):
    """The vector index; docs/index-options.md maps these words to each store's.

    An option that is null is left to the store, which uses its own default (``stores.index_defaults``).
    """

    metric: Literal["cosine", "euclidean", "dot_product"] = Field(
        "cosine", description="dot_product needs unit vectors"
    )
    connections: int | None = Field(
        None, ge=2, le=512, description="edges per node; more: better recall, more memory; the store's default if null"
    )
    expansion_add: int | None = Field(
        None, ge=1, le=4096, description="width of the search while building; the store's default if null"
    )
    expansion_search: int | None = Field(
        None, ge=1, le=4096, description="width of the search while answering; the store's default if null"
    )
    quantization: Literal["f32", "f16", "bf16", "i8", "b1"] | None = Field(
        None,
        description="precision of the index's copy of the vectors; the table has float32; the store's default if null",
    )
    oversampling: float | None = Field(
        None, ge=1, le=100, description="ScyllaDB: candidates for each result, then ranked; its default if null"
    )
    rescoring: bool | None = Field(
        None, description="ScyllaDB: rank the candidates by the table's exact vectors; its default if null"
    )


class TargetSettings(Frozen):
    """The versioned table that the migration fills."""

    table: TableName = Field(description="a new table, named with the next number: articles_v2")
    model: ModelSettings | None = Field(
        None, description="the new model; if null, the source's: vectors are copied and only the index changes"
    )
    index: IndexSettings = IndexSettings()
    index_wait: Duration = Field(timedelta(hours=6), description="how long index waits until the index is ready")
