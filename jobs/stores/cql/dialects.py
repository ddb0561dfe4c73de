"""What differs between the servers that speak CQL, and which of them this one is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from jobs.errors import SchemaError
from jobs.stores.contract import Index, IndexSize, IndexState, Piece
from jobs.stores.cql.session import Link

#: The index options that a user asked for, by our names; what was left to its default is not among them.
Asked = dict[str, Any]


class Dialect(Protocol):
    """One kind of server. Statements are text, so that a test can compare them word by word."""

    product: str
    version: str
    #: What stands at the end of a scan's SELECT.
    scan_suffix: str

    def time_of_collection(self, column: str) -> str | None:
        """The expression for the greatest write time among a collection's elements; None where there is none."""
        ...

    #: The class of vector indexes, as ``USING`` names it.
    index_class: str
    #: Our names of index options, and the server's.
    index_words: Mapping[str, str]
    #: What an index has that was created without an option, by the server's names.
    index_defaults: Mapping[str, str]

    def index_options(self, index: Index) -> dict[str, str]:
        """The options asked for, by the server's names. Raises SchemaError for one that cannot be had."""
        ...

    def check_index(self, link: Link, index: Index) -> None:
        """Ask the server whether it will take the index. Raises SchemaError."""
        ...

    def index_state(self, link: Link, index: Index) -> IndexState:
        """How far an index is that exists."""
        ...

    def index_size(self, link: Link, index: Index, rows: int) -> IndexSize:
        """The size of one copy of an index, measured or of ``rows`` by the server's formula."""
        ...

    def similarity(self, metric: str) -> str | None:
        """The server's function for a metric, None where it has none."""
        ...

    def results_asked(self, index: Index, k: int) -> int:
        """How many results a search for the ``k`` nearest asks the server for: at least ``k``."""
        ...

    def keyspace_options(self, *, catalog: bool) -> str:
        """What stands behind the replication in CREATE KEYSPACE."""
        ...

    #: The view of a node's own settings.
    settings_view: str

    def reads(self, link: Link, table: str) -> int | None:
        """How often clients have read a table since the nodes started; None where the nodes do not count."""
        ...

    def tablets(self, link: Link, keyspace: str, table: str) -> list[Piece]:
        """The table's tablets in ring order; none where it lies on the ring's vnodes."""
        ...


def detect(link: Link) -> Dialect:
    """Ask the server which dialect it speaks: only ScyllaDB has a ``system.versions``."""
    from jobs.stores.cql.cassandra import Cassandra
    from jobs.stores.cql.scylla import Scylla

    doing = "asking for the server's version"
    try:
        found = link.rows("SELECT version FROM system.versions WHERE key = 'local'", doing=doing)
    except SchemaError:
        local = link.rows("SELECT release_version FROM system.local", doing=doing)
        return Cassandra(local[0]["release_version"])
    return Scylla(found[0]["version"] if found else "", link.settings.vector_status)


def asked(index: Index) -> Asked:
    """The options that the settings name, null ones left out."""
    chosen = index.options.model_dump(include=index.options.model_fields_set)
    return {"metric": index.options.metric} | {name: value for name, value in chosen.items() if value is not None}


def version_numbers(version: str) -> tuple[int, ...]:
    """``2025.4.1-0.2025`` as (2025, 4)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def refuse(index: Index, option: str, why: str, instead: str) -> SchemaError:
    """An index option that a server cannot give."""
    return SchemaError(f"the index {index.name} cannot have {option}: {why}", hint=instead)
