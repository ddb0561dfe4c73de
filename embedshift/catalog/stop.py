"""An error that ends a whole run at once: the task that met it tells, and the run that owns the migration stops."""

from __future__ import annotations

import json
from contextlib import suppress

from embedshift import errors
from embedshift.catalog.signals import send, signals_under, withdraw_signals
from embedshift.errors import EmbedshiftError, StoreUnavailable
from embedshift.stores.contract import Store

#: The name of the signal, followed by the run.
_STOP = "stop/"


def tell_stop(store: Store, migration: str, run: str, error: EmbedshiftError) -> None:
    """A task tells its run why it must stop."""
    told = {"kind": type(error).__name__, "what": error.what, "hint": error.hint}
    # If the store does not answer, each task stops by the same error of its own.
    with suppress(StoreUnavailable):
        send(store, migration, _STOP + run, json.dumps(told))


def read_stop(store: Store, migration: str, run: str) -> EmbedshiftError | None:
    """Why a run must stop; None if it need not."""
    signal = signals_under(store, migration, _STOP + run).get(_STOP + run)
    if signal is None:
        return None
    told = json.loads(signal.text)
    kind = getattr(errors, told["kind"], EmbedshiftError)
    error: EmbedshiftError = kind(told["what"], hint=told["hint"])
    return error


def forget_stops(store: Store, migration: str) -> None:
    """A run begins: what stopped others is over."""
    withdraw_signals(store, migration, signals_under(store, migration, _STOP))
