"""The databases of articles, behind one contract, and what can be said of each without a connection."""

from __future__ import annotations

from typing import Literal

from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores.contract import Store
from embedshift.stores.model import Index, IndexSize

#: The products behind the contract. The settings say ``cql`` for two of them: the server tells which one it is.
Product = Literal["scylladb", "cassandra", "embedded"]


def open_store(settings: StoreSettings) -> Store:
    """Open the store that the settings name.

    Raises:
        StoreUnavailable: it does not answer, or it refuses this client.
    """
    if settings.kind == "embedded":
        from embedshift.stores.embedded.store import EmbeddedStore

        return EmbeddedStore.open(settings)
    from embedshift.stores.cql.store import CqlStore

    return CqlStore.open(settings)


def index_defaults(kind: Literal["embedded", "cql"]) -> dict[str, IndexSettings]:
    """What an index has if the settings name no option, by the name of the product; needs no connection.

    Args:
        kind: as ``store.kind`` of the settings: ``cql`` means two products with different defaults.

    Returns:
        An option that a product does not have is null.
    """
    if kind == "embedded":
        from embedshift.stores.embedded.graph import DEFAULTS

        return {"USearch": DEFAULTS}
    from embedshift.stores.cql import dialect
    from embedshift.stores.cql.cassandra import Cassandra
    from embedshift.stores.cql.scylla import Scylla

    return {"Cassandra": dialect.index_defaults(Cassandra), "ScyllaDB": dialect.index_defaults(Scylla)}


def computed_index_size(product: Product, index: Index, rows: int) -> IndexSize:
    """The size of one copy of an index, by the product's own formula; needs no connection."""
    if product == "embedded":
        from embedshift.stores.embedded import graph

        return graph.computed_size(index, rows)
    if product == "cassandra":
        from embedshift.stores.cql import cassandra

        return cassandra.computed_size(index, rows)
    from embedshift.stores.cql import scylla

    return scylla.computed_size(index, rows)
