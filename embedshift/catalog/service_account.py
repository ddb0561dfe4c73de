"""What the services of a migration were asked for, by all its steps and runs: one row a model, by compare-and-set.

A request is counted as spent before it is sent, and its count is put right when it is answered. What is never put
right, because its task died or its answer did not come, stays spent.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from embedshift.catalog.tables import SERVICE_ACCOUNT
from embedshift.errors import BudgetSpent, StoreUnavailable
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us

_MINUTE_US = 60_000_000
#: Seconds for which a change is tried again while others change the row, and between two tries.
_TRY_S, _PAUSE_S = 60.0, 0.05


@dataclass(frozen=True, slots=True)
class Rates:
    """What a service allows all tasks of a run in a minute; None: no limit."""

    requests: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One model's row.

    Args:
        cost: what is spent or reserved, in millionths of the currency of its price.
        tokens: as the service counted them, and as they were reserved where it never did.
        requests: those that were answered.
        tokens_free_us: when the next request may be sent under the limit of tokens.
        requests_free_us: the same under the limit of requests.
    """

    cost: int = 0
    tokens: int = 0
    requests: int = 0
    tokens_free_us: int = 0
    requests_free_us: int = 0

    def reserved(self, tokens: int, price: float, rates: Rates, at_us: int) -> tuple[Account, int]:
        """The account with one more request of so many tokens, and when it may be sent.

        The limits make a queue: each request moves the moment at which the next one may be sent.
        """
        free_us = max(at_us, self.tokens_free_us, self.requests_free_us)
        token_us = 0.0 if rates.tokens is None else tokens * _MINUTE_US / rates.tokens
        request_us = 0.0 if rates.requests is None else _MINUTE_US / rates.requests
        changed = replace(
            self,
            cost=self.cost + cost_of(tokens, price),
            tokens=self.tokens + tokens,
            tokens_free_us=round(free_us + token_us) if token_us else self.tokens_free_us,
            requests_free_us=round(free_us + request_us) if request_us else self.requests_free_us,
        )
        return changed, free_us

    def settled(self, answered: Settlement, price: float, rates: Rates) -> Account:
        """The account when requests are answered: what they really used instead of what was reserved."""
        difference = answered.used - answered.reserved
        shift_us = 0 if rates.tokens is None else round(difference * _MINUTE_US / rates.tokens)
        return replace(
            self,
            cost=max(0, self.cost + cost_of(answered.used, price) - cost_of(answered.reserved, price)),
            tokens=max(0, self.tokens + difference),
            requests=self.requests + answered.requests,
            tokens_free_us=self.tokens_free_us + shift_us,
        )


@dataclass(frozen=True, slots=True)
class Settlement:
    """Requests that were answered: their number, and the tokens that were reserved for them and used by them."""

    requests: int = 0
    reserved: int = 0
    used: int = 0

    def __add__(self, other: Settlement) -> Settlement:
        return Settlement(self.requests + other.requests, self.reserved + other.reserved, self.used + other.used)


def cost_of(tokens: int, price: float) -> int:
    """What tokens cost, in millionths of a currency; ``price`` is that of a million of them."""
    return math.ceil(tokens * price)


def check_budget(account: Account, max_cost: float | None, model: str) -> None:
    """Raises BudgetSpent if an account has spent more than it may."""
    if max_cost is not None and account.cost > max_cost * 1e6:
        raise BudgetSpent(
            f"{model} may cost {max_cost:g}, and the next request would exceed that",
            hint="what is done stays done; raise model.service.max_cost and run the same command again",
        )


def change_account(
    store: Store, migration: str, model: str, name: str, change: Callable[[Account], Account]
) -> Account:
    """Change the account of a model by compare-and-set, whoever else changes it meanwhile.

    Args:
        store: has the catalog.
        migration: whose account it is.
        model: its fingerprint, which stays the same under another name.
        name: for people.
        change: makes the account that follows of the present one.

    Raises:
        StoreUnavailable: others have changed it for a minute without a gap.
    """
    key = {"migration": migration, "model": model}
    deadline = time.monotonic() + _TRY_S
    while time.monotonic() < deadline:
        row = store.records.get(SERVICE_ACCOUNT, key)
        before = _account(row) if row else Account()
        after = change(before)
        version = row["version"] if row else 0
        values = {**asdict(after), "name": name, "version": version + 1, "updated_us": now_us()}
        if row is None:
            done = store.records.insert(SERVICE_ACCOUNT, {**key, **values})
        else:
            done = store.records.update_if(SERVICE_ACCOUNT, key, values, {"version": version})
        if done:
            return after
        time.sleep(random.uniform(0, _PAUSE_S))
    raise StoreUnavailable(
        f"the account of {name} could not be changed for {_TRY_S:g} s, because others changed it",
        hint="lower model.service.concurrency, or use fewer tasks",
    )


def accounts_of(store: Store, migration: str) -> dict[str, Account]:
    """The accounts of a migration by the names of models; none if no service was asked."""
    if not store.records.has(SERVICE_ACCOUNT):
        return {}
    rows = store.records.select(SERVICE_ACCOUNT, {"migration": migration})
    return {row["name"]: _account(row) for row in rows}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a model of a service was asked for so far; the cost is in the currency of its price, 0 without one."""

    model: str
    requests: int
    tokens: int
    cost: float

    def __str__(self) -> str:
        cost = f", cost {self.cost:,.4g}" if self.cost else ""
        return f"{self.model}: {self.requests:,} requests, {self.tokens:,} tokens{cost}"


def spending(store: Store, migration: str) -> tuple[Spent, ...]:
    """What a migration has spent, by model."""
    found = sorted(accounts_of(store, migration).items())
    return tuple(Spent(model, each.requests, each.tokens, each.cost / 1e6) for model, each in found)


def _account(row: Record) -> Account:
    return Account(**{name: row[name] or 0 for name in Account.__dataclass_fields__})
