"""The databases of articles, behind one contract."""

from __future__ import annotations

from jobs.settings import StoreSettings
from jobs.stores.contract import Store


def open_store(settings: StoreSettings) -> Store:
    """Open the store that the settings name.

    Raises:
        StoreUnavailable: it does not answer, or not to us.
    """
    if settings.kind == "embedded":
        from jobs.stores.embedded.store import EmbeddedStore

        return EmbeddedStore.open(settings)
    from jobs.stores.cql.store import CqlStore

    return CqlStore.open(settings)
