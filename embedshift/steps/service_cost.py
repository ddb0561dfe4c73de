"""What a service will get and cost, before the first request that is paid for, and what the first ones did cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from embedshift.catalog.service_account import Account, Rates, Settlement, change_account
from embedshift.embedding import ServiceModel, Template, load_model
from embedshift.settings import ModelSettings, Settings
from embedshift.stores.contract import Store
from embedshift.tokens import WHOLE_RING

#: Bytes of a token of English text, as the makers of models give it; other languages have shorter ones.
BYTES_A_TOKEN = 4.0
#: Texts whose length is measured.
_SAMPLE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class ServiceCost:
    """About what a service costs that embeds a whole table.

    Args:
        texts: rows of the table.
        tokens: about how many tokens they have.
        cost: in the currency of the price; None if there is no price.
    """

    texts: int
    tokens: int
    cost: float | None

    @classmethod
    def of(cls, model: ModelSettings, rows: int, text_bytes: float) -> ServiceCost:
        """The cost of so many rows whose texts have so many bytes on average."""
        tokens = round(rows * text_bytes / BYTES_A_TOKEN)
        price = model.service.price_per_million_tokens if model.service else None
        return cls(rows, tokens, None if price is None else tokens * price / 1e6)


def estimates(settings: Settings, store: Store) -> Iterator[str]:
    """For people: what each service of a migration will get, about how many tokens that is, and what they cost."""
    source, target = settings.source.model, settings.target_model
    if target.service is not None and target != source:
        columns = ", ".join(Template.parse(settings.source.text).columns)
        yield f"{target.name} is embedded by {target.service.url}: it gets the texts of all rows ({columns})"
        yield in_words(target, of_table(settings, store))
    if source.service is not None:
        gets = "the questions of validate, and on the way back the texts of rows that changed"
        yield f"{source.name} is embedded by {source.service.url}: it gets {gets}"


def of_table(settings: Settings, store: Store) -> ServiceCost:
    """What it costs to embed the source with the new model, by its first rows."""
    table, template = store.describe(settings.source.table), Template.parse(settings.source.text)
    values = [name for name in template.columns if name not in {key.name for key in table.keys}]
    first = next(store.scan(table, WHOLE_RING, values=values, batch_rows=_SAMPLE_ROWS), None)
    texts = [] if first is None else template.render(first.slice(0, _SAMPLE_ROWS)).to_pylist()
    mean = sum(len(text.encode()) for text in texts) / len(texts) if texts else 0.0
    return ServiceCost.of(settings.target_model, store.estimate(table.name).rows, mean)


def in_words(model: ModelSettings, made: ServiceCost) -> str:
    """One line for people."""
    limit = model.service.max_cost if model.service else None
    cost = "its price is unknown (model.service.price_per_million_tokens)"
    if made.cost is not None:
        cost = f"cost about {made.cost:,.4g}"
    stops = "" if limit is None else f"; the migration stops at {limit:,g}"
    warn = " BEFORE IT IS DONE" if limit is not None and made.cost is not None and made.cost > limit else ""
    about = (
        f"about {made.tokens:,} tokens for {made.texts:,} texts, at {BYTES_A_TOKEN:g} bytes a token, for the rows alone"
    )
    return f"{about}; {cost}{stops}{warn}"


def book_first_requests(store: Store, migration: str, settings: Settings) -> None:
    """Enter into a migration's account what its models were asked before it was recorded."""
    for named in (settings.source.model, settings.target_model):
        if named.service is None:
            continue
        model = load_model(named)
        assert isinstance(model, ServiceModel)
        requests, tokens = model.take_uncounted()
        if requests:
            price = named.service.price_per_million_tokens or 0.0
            change_account(
                store,
                migration,
                model.fingerprint,
                named.name,
                partial(_booked, Settlement(requests, 0, tokens), price),
            )


def _booked(asked: Settlement, price: float, account: Account) -> Account:
    return account.settled(asked, price, Rates())
