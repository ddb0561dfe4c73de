"""Settings of the two tables: their models, texts and indexes."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from embedshift.settings.values import Duration, Frozen, TableName


class ModelSettings(Frozen):
    """An embedding model, as sentence-transformers loads it."""

    name: str = Field(
        min_length=1,
        description="a name on the hub, a folder, or package:NAME for a model that an installed package contains",
    )
    revision: str | None = Field(None, description="commit or tag on the hub; without one, the model may change")
    query_prompt: str = Field("", description="put before every question")
    document_prompt: str = Field("", description="put before every document")
    max_length: int | None = Field(None, ge=8, description="maximum tokens of a text; if null, the model's own limit")
    normalize: bool = Field(True, description="scale every vector to length 1")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto uses a GPU if there is one")


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
