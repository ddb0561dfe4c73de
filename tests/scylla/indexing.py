"""Vector indexes, and what ScyllaDB asks of one [index/vector_index.cc: validate]."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from tests.scylla import words
from tests.scylla.catalog import Table
from tests.scylla.cdc import TTL_S
from tests.scylla.selects import Definition

#: Spellings of one class (SCYLLADB.md, "Names, options, shapes").
_CLASSES = frozenset({"vector_index", "sai", "storageattachedindex"})
#: Index options and their values [index/vector_index.cc]; the last three from 2026.1.
_OPTIONS: Mapping[str, tuple[str, ...] | int] = {
    "similarity_function": ("cosine", "euclidean", "dot_product"),
    "maximum_node_connections": 512,
    "construction_beam_width": 4096,
    "search_beam_width": 4096,
    "source_model": (),
    "quantization": ("f32", "f16", "bf16", "i8", "b1"),
    "oversampling": 100,
    "rescoring": ("true", "false"),
}
_SINCE_2026_1 = frozenset({"quantization", "oversampling", "rescoring"})


@dataclass(frozen=True)
class VectorIndex:
    """A vector index; ``version`` tells two creations apart."""

    keyspace: str
    name: str
    table: str
    column: str
    version: uuid.UUID
    options: Mapping[str, str]
    partition: tuple[str, ...] = ()
    filtering: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """The table."""
        return self.keyspace, self.table


def is_vector_class(name: str) -> bool:
    return name.rpartition(".")[2].lower() in _CLASSES


def check(stated: Definition, table: Table, since: tuple[int, ...]) -> None:
    """Refuse columns and options that a vector index cannot have; ``since`` is the server's version."""
    for name in (stated.column, *stated.filtering, *stated.partition):
        if name not in table.types:
            raise words.invalid(f"Column {name} not found in schema")
    if stated.partition and set(stated.partition) != set(table.partition):
        raise words.invalid("Local index definition must contain the full partition key only")
    if not table.types[stated.column].startswith("vector<float,"):
        raise words.invalid("Vector indexes are only supported on columns of vectors of floats")
    for name, value in stated.properties.get("options", {}).items():
        if name not in _OPTIONS or (name in _SINCE_2026_1 and since < (2026, 1)):
            raise words.invalid(f"Unsupported option {name} for vector index")
        allowed = _OPTIONS[name]
        fits = 1 <= float(value) <= allowed if isinstance(allowed, int) else not allowed or value.lower() in allowed
        if not fits:
            raise words.invalid(f"Invalid value in option '{name}' for vector index: '{value}'")


def check_cdc(said: Mapping[str, str]) -> None:
    """A table with a vector index needs CDC, and a log of a day at least."""
    if said.get("enabled", "true") != "true" or 0 < int(said.get("ttl", TTL_S)) < TTL_S:
        raise words.cdc_is_off()
