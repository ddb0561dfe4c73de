"""What a run's requests to a service are counted against: the account of its migration, shared by all of its tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

from embedshift.catalog.service_account import Account, Rates, Settlement, change_account, check_budget
from embedshift.catalog.service_models import answers_of
from embedshift.catalog.stop import tell_stop
from embedshift.catalog.throttle import ThrottleState, report_served, report_service
from embedshift.catalog.vector_table import VectorTable, proven_model
from embedshift.embedding import Model, ServiceModel
from embedshift.embedding.service.fixed_texts import TEXTS
from embedshift.errors import EmbedshiftError, StoreUnavailable
from embedshift.settings import ModelSettings
from embedshift.spark.throttle import slower
from embedshift.stores.contract import Store
from embedshift.times import now_us

#: The longest sleep, so that a pause or the end of the run is noticed soon; seconds between two reports of slowness.
_NAP_S, _REPORT_S = 0.5, 5.0


class _Ticket:
    """A request that waits for its place: when it may be sent (microseconds since the epoch), or why it may not."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.free_us: int | None = None
        self.error: EmbedshiftError | None = None


class RunAllowance:
    """An ``Allowance`` for one process of a run.

    However many threads wait, one of them changes the account for all: so a row that every task of the run changes is
    asked for as seldom as possible.

    Args:
        catalog: has the account.
        migration: whose account it is.
        fingerprint: of the model.
        model: with its service, whose limits and price apply.
        run: who is told of an error that ends the run.
        state: the throttle state now; raises if the run is over.
    """

    def __init__(
        self,
        catalog: Store,
        migration: str,
        fingerprint: str,
        model: ModelSettings,
        run: str,
        state: Callable[[], ThrottleState] = ThrottleState,
    ) -> None:
        assert model.service is not None
        self._catalog, self._migration, self._run, self._state = catalog, migration, run, state
        self._fingerprint, self._model, self._service = fingerprint, model.name, model.service
        self._price = model.service.price_per_million_tokens or 0.0
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Ticket] = []
        self._answered = Settlement()
        self._ended: EmbedshiftError | None = None
        self._told, self._told_s = "", 0.0

    def reserve(self, tokens: int) -> None:
        """Wait for a place in the queue of all tasks. Errors as those of ``Allowance``."""
        rates = self._rates()
        ticket = _Ticket(tokens)
        with self._lock:
            self._waiting.append(ticket)
        with self._turn:
            if ticket.free_us is None and ticket.error is None:
                self._commit(rates)
        if ticket.error is not None:
            raise ticket.error
        assert ticket.free_us is not None
        while (left_s := (ticket.free_us - now_us()) / 1e6) > 0:
            time.sleep(min(_NAP_S, left_s))
            self._rates()

    def settle(self, reserved: int, used: int) -> None:
        """Remember it for the next change of the account."""
        with self._lock:
            self._answered += Settlement(1, reserved, used)

    def flush(self) -> None:
        """Put the account right for all requests that were answered."""
        with self._turn:
            self._commit(self._limits(ThrottleState()))

    def slowed(self, reason: str) -> None:
        """Let people know why it is slow, from time to time, and when it is no more."""
        now_s = time.monotonic()
        with suppress(StoreUnavailable):  # it is only for people
            if reason and now_s - self._told_s >= _REPORT_S:
                self._told, self._told_s = reason, now_s
                report_service(self._catalog, self._migration, reason)
            elif not reason and self._told:
                self._told, self._told_s = "", 0.0
                report_served(self._catalog, self._migration)

    def stop(self, error: EmbedshiftError) -> None:
        """No other request of this process is sent, and the run is told to stop."""
        if self._ended is None:
            self._ended = error
            tell_stop(self._catalog, self._migration, self._run, error)

    def check(self) -> None:
        """Raises the error by which it was stopped."""
        if self._ended is not None:
            raise self._ended

    def _commit(self, rates: Rates) -> None:
        """Change the account for everything that has gathered."""
        with self._lock:
            tickets, answered = self._waiting, self._answered
            self._waiting, self._answered = [], Settlement()
        if not tickets and not answered.requests:
            return

        def change(account: Account) -> Account:
            account = account.settled(answered, self._price, rates)
            for ticket in tickets:
                ticket.error = None
                more, free_us = account.reserved(ticket.tokens, self._price, rates, now_us())
                try:
                    check_budget(more, self._service.max_cost, self._model)
                except EmbedshiftError as error:
                    ticket.error = error
                else:
                    account, ticket.free_us = more, free_us
            return account

        try:
            change_account(self._catalog, self._migration, self._fingerprint, self._model, change)
        except EmbedshiftError as error:
            # Nothing was written: what was answered is told again, and nobody sends anything.
            with self._lock:
                self._answered += answered
            for ticket in tickets:
                ticket.error = error

    def _rates(self) -> Rates:
        """The limits that apply now; waits as long as a pause lasts."""
        while True:
            self.check()
            state = self._state()
            if not state.wait:
                return self._limits(state)
            time.sleep(_NAP_S)

    def _limits(self, state: ThrottleState) -> Rates:
        service = self._service
        return Rates(
            slower(service.requests_per_minute, state.requests_per_minute),
            slower(service.tokens_per_minute, state.tokens_per_minute),
        )


@contextmanager
def counted_models(store: Store, migration: str, run: str) -> Iterator[Callable[[VectorTable, str], Model]]:
    """Gives the models of a migration's tables to a step, until the block ends; each answers to every fixed text first.

    Args:
        store: has the catalog.
        migration: whose account counts the requests.
        run: that owns it.
    """
    allowances: list[RunAllowance] = []

    @cache
    def model_of(vector_table: VectorTable, device: str) -> Model:
        if vector_table.model.service is None:
            return proven_model(store, vector_table, device)
        allowances.append(
            RunAllowance(store, migration, vector_table.model.fingerprint, vector_table.model.settings(), run)
        )
        model = proven_model(store, vector_table, device, allowances[-1])
        assert isinstance(model, ServiceModel)
        fingerprint = vector_table.model.fingerprint
        model.prove(fingerprint, answers_of(store, fingerprint), range(len(TEXTS)))
        return model

    try:
        yield model_of
    finally:
        for each in allowances:
            each.flush()
