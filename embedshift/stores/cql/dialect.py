"""What differs between the servers that speak CQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from embedshift.errors import SchemaError
from embedshift.settings import IndexSettings
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.model import Column, Index, IndexSize, IndexState, Piece

#: The most results that one search of SAI or of a vector store gives.
RESULTS_MAX = 1000


class Dialect(Protocol):
    """One kind of server. Statements are text, so that a test can compare them word by word."""

    product: str
    version: str
    #: Whether a column may have several named indexes.
    several_indexes: bool
    #: The end of a scan's SELECT.
    scan_suffix: str
    #: The view of a node's own settings.
    settings_view: str
    #: The class of vector indexes, as ``USING`` names it.
    index_class: str
    #: Every class that means the same, without its package, in lower case.
    index_classes: frozenset[str]
    #: The server's names of index options, by ours.
    index_words: Mapping[str, str]
    #: What an index has that was created without an option, by the server's names.
    index_defaults: Mapping[str, str]

    def time_of_collection(self, column: str) -> str | None:
        """The expression for the greatest write time among a collection's elements; None if the server has none."""

    def field_times(
        self, connection: CqlConnection, table: str, columns: Sequence[Column]
    ) -> Mapping[str, tuple[str, ...]]:
        """The fields of user types, by column, of which the server tells the write times one by one."""

    def index_options(self, index: Index) -> dict[str, str]:
        """The options that the settings name, by the server's names.

        Raises:
            SchemaError: the server does not support one of them.
        """

    def check_index(self, connection: CqlConnection, index: Index) -> None:
        """Ask the server whether it will accept the index.

        Raises:
            SchemaError: it will not.
        """

    def index_state(self, connection: CqlConnection, index: Index, version: str) -> IndexState:
        """How far an existing index is. ``version`` tells its creations apart; empty if the server has none."""

    def index_size(self, connection: CqlConnection, index: Index, rows: int) -> IndexSize:
        """The size of one copy of an index: measured, or computed for ``rows`` by the server's formula."""

    def similarity(self, connection: CqlConnection, index: Index) -> str | None:
        """The server's function for the metric of an index; None if it has none."""

    def results_asked(self, index: Index, k: int) -> int:
        """How many results a search for the ``k`` nearest requests from the server: at least ``k``."""

    def keyspace_options(self, *, catalog: bool) -> str:
        """The text after the replication in CREATE KEYSPACE."""

    def write_floor(self, connection: CqlConnection, table: str) -> int | None:
        """Before which time the server refuses writes into a table, in microseconds; None if it takes them all."""

    def secondary_serving(self, connection: CqlConnection, name: str) -> bool:
        """Whether an index that is not one of vectors can be used, as far as the server tells."""

    def reads(self, connection: CqlConnection, table: str) -> int | None:
        """How often clients have read a table since the nodes started; None if the nodes do not count."""

    def row_ttl(self, connection: CqlConnection, table: str, columns: Sequence[Column]) -> str | None:
        """The column by which whole rows of a table expire; None if there is none, or if the server does not say."""

    def tablets(self, connection: CqlConnection, keyspace: str, table: str) -> list[Piece]:
        """The table's tablets in ring order; empty if the table is spread over the ring's vnodes."""


def index_defaults(dialect: type[Dialect]) -> IndexSettings:
    """What an index has if the settings name no option; null for an option that the server does not have."""
    return to_settings(dialect.index_words, dialect.index_defaults)


def is_class(options: Mapping[str, str], classes: frozenset[str]) -> bool:
    """Whether an index with these options in ``system_schema.indexes`` is of one of the classes, however spelled."""
    return str(options.get("class_name", "")).rpartition(".")[2].lower() in classes


def to_settings(words: Mapping[str, str], options: Mapping[str, str]) -> IndexSettings:
    """A server's index options as settings; options that the settings have no name for are left out.

    Args:
        words: the server's names, by ours.
        options: the options by the server's names.
    """
    found = {ours: options[theirs].lower() for ours, theirs in words.items() if theirs in options}
    return IndexSettings.model_validate(found)


def asked(index: Index) -> dict[str, Any]:
    """The metric, and the options that the settings name; those that are null are left to the server."""
    return index.options.model_dump(exclude_none=True)


def version_numbers(version: str) -> tuple[int, ...]:
    """``2025.4.1-0.2025`` as (2025, 4)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def refuse(index: Index, option: str, why: str, instead: str) -> SchemaError:
    """The error for an index option that a server does not support."""
    return SchemaError(f"the index {index.name} cannot have {option}: {why}", hint=instead)
