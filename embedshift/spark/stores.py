"""The stores that a worker process has open."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from embedshift.settings import StoreSettings
from embedshift.spark.worker import keep_for_good
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.telemetry.logs import start_worker_log


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of a transfer: of its source, of its target, and of the catalog. They may be one."""

    source: Store
    target: Store
    catalog: Store

    @classmethod
    def one(cls, store: Store) -> Stores:
        """One store that has both tables and the catalog."""
        return cls(store, store, store)


def shared_store(settings: StoreSettings) -> Store:
    """The store of this worker process: opened once, and kept for later tasks."""
    return _open(settings.model_dump_json(), os.getpid())


@lru_cache(maxsize=4)
def _open(settings: str, process: int) -> Store:
    del process  # only part of the key: a forked worker must not share its parent's connections
    start_worker_log()
    store = open_store(StoreSettings.model_validate_json(settings))
    keep_for_good()
    return store
