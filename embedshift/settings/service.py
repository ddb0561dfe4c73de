"""Settings of an embedding service: a model behind HTTP."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from embedshift.settings.values import Duration, Frozen

#: What embedshift itself puts into a request.
_OWN_FIELDS = frozenset({"model", "input", "encoding_format", "dimensions"})


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        # A user, a password or a query could be a secret, and has no place in a settings file.
        good = good and not set(url) & set("?#@") and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        good = False
    if not good:
        # Not the address itself: it may have a key in it.
        raise ValueError("is no address: write https://host/v1, without a user, a query or a fragment")
    return url.rstrip("/")


def _variable(name: str) -> str:
    # In capitals, so that a key that somebody writes here by mistake is refused, and not printed as a name.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError("is the name of an environment variable, in capitals; the key itself is never a setting")
    return name


def _pairs(value: object) -> object:
    return tuple(value.items()) if isinstance(value, Mapping) else value


def _no_own(fields: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
    if own := sorted({name for name, _ in fields} & _OWN_FIELDS):
        raise ValueError(f"{own[0]} is sent by embedshift itself")
    return fields


#: Fields of a request, written as a mapping and kept as pairs, so that settings can be compared and hashed.
Fields = Annotated[
    tuple[tuple[str, str | bool | int | float], ...],
    BeforeValidator(_pairs, json_schema_input_type=dict[str, str | bool | int | float]),
    AfterValidator(_no_own),
    PlainSerializer(dict, return_type=dict[str, Any]),
]


class ServiceSettings(Frozen):
    """A service that speaks OpenAI's embeddings protocol, as most servers and gateways do.

    The key is no setting: ``key_env`` names the environment variable that has it, on every machine that embeds.
    """

    url: Annotated[str, AfterValidator(_address)] = Field(
        description="the address before /embeddings, such as https://api.openai.com/v1; for Azure that of the resource"
    )
    key_env: Annotated[str, AfterValidator(_variable)] | None = Field(
        None, description="the environment variable that has the key; if null, no key is sent"
    )
    deployment: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$", description="Azure: the deployment; api_version is needed with it"
    )
    api_version: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$", description="Azure: the version of the protocol, such as 2024-10-21"
    )
    dimensions: int | None = Field(
        None, ge=1, le=65536, strict=True, description="dimensions that the service is asked for; if null, its own"
    )
    document_fields: Fields = Field(
        (), description="sent with each request for documents, such as {input_type: passage}"
    )
    query_fields: Fields = Field((), description="sent with each request for questions, such as {input_type: query}")
    max_characters: int | None = Field(
        None, ge=1, description="a longer text is cut before it is sent; if null, it is sent whole"
    )
    batch_texts: int = Field(64, ge=1, le=2047, description="maximum texts of one request")
    batch_tokens: int = Field(
        16_384, ge=1, description="maximum tokens of one request, estimated; a longer text is a request of its own"
    )
    concurrency: int = Field(8, ge=1, le=256, description="requests in flight per task")
    timeout: Duration = Field(timedelta(seconds=60), gt=timedelta(0), description="for one request")
    question_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="for one question of a search, whatever happens",
    )
    patience: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="how long a request is tried again before the run stops"
    )
    requests_per_minute: float | None = Field(
        None, gt=0, description="maximum for all tasks of a run together; embedshift throttle may lower it"
    )
    tokens_per_minute: float | None = Field(
        None, gt=0, description="maximum for all tasks of a run together; embedshift throttle may lower it"
    )
    price_per_million_tokens: float | None = Field(None, ge=0, description="in any currency; needed by max_cost")
    max_cost: float | None = Field(
        None, gt=0, description="a migration that has spent this much stops; a higher value lets it continue"
    )
    agreement: float = Field(
        0.999, ge=0.9, le=1, description="minimum cosine of a fixed text's vector with the one recorded by prepare"
    )
    allow_plain_http: bool = Field(False, description="send texts and key to another machine without encryption")

    @model_validator(mode="after")
    def _fitting(self) -> ServiceSettings:
        if (self.deployment is None) != (self.api_version is None):
            raise ValueError("deployment and api_version are Azure's, and one needs the other")
        if self.max_cost is not None and not self.price_per_million_tokens:
            raise ValueError("max_cost needs price_per_million_tokens, greater than 0")
        if self.url.startswith("http:") and not self.is_local and not self.allow_plain_http:
            raise ValueError(
                f"http to {urlsplit(self.url).hostname} is not encrypted: use https, or set allow_plain_http: true"
            )
        return self

    @property
    def is_local(self) -> bool:
        """Whether the address is that of this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def identity(self) -> dict[str, Any]:
        """What of these settings decides a vector. Neither address nor limits do."""
        return self.model_dump(include={"dimensions", "document_fields", "query_fields", "max_characters"})
