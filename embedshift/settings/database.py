"""Settings of the database, and its secrets, user and password, which are not settings."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Strict, model_validator

from embedshift.errors import SettingsError
from embedshift.settings.values import Duration, Frozen

#: Where a vector store tells the state of its indexes.


def _host(name: str) -> str:
    try:
        good = bool(name) and bool(name.encode("ascii" if ":" in name else "idna"))
    except UnicodeError:
        good = False
    if not good:
        raise ValueError(f"{name!r} is no name of a host")
    return name


def _with_host(address: str) -> str:
    try:
        parts = urlsplit(address)
        # What an address must not have is a user, a query, or a fragment; the path before /api may be longer.
        good = parts.scheme in ("http", "https") and not set(address) & set("?#@") and address.isascii()
        good = good and address.isprintable() and " " not in address and (parts.port is None or parts.port > 0)
        _host(parts.hostname or "")
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{address!r} is no address: write http://host:port, or https://host:port")
    return address


HostName = Annotated[str, AfterValidator(_host)]
VectorStoreAddress = Annotated[str, AfterValidator(_with_host)]
#: By datacenter: how many copies, or on which racks one each.


def _copies(replication: dict[str, str | int | tuple[str, ...]]) -> dict[str, str | int | tuple[str, ...]]:
    if not replication:
        raise ValueError("name a datacenter and how many copies it keeps, such as {dc1: 3}")
    for name, value in replication.items():
        if name == "class":
            good = isinstance(value, str) and bool(value)
        elif isinstance(value, tuple):
            good = bool(value) and all(value)
        else:  # Cassandra writes copies of which some are transient as 3/1
            good = re.fullmatch(r"\d+(/\d+)?", str(value)) is not None
        if not good:
            raise ValueError(f"{name}: {value!r} is neither a number of copies nor a list of racks")
    return replication


#: By datacenter, copies or racks; perhaps with a ``class``.
Replication = Annotated[dict[str, str | Annotated[int, Strict()] | tuple[str, ...]], AfterValidator(_copies)]


class TlsSettings(Frozen):
    """Encryption between embedshift and a server."""

    ca: Path = Field(description="PEM file of the authority that signed the servers' certificates")
    certificate: Path | None = Field(None, description="PEM file of this client's certificate, if servers ask for one")
    key: Path | None = Field(None, description="PEM file of this client's private key")
    check_hostname: bool = Field(True, description="refuse a server whose certificate names another host")


class ConsistencySettings(Frozen):
    """How many replicas must answer."""

    read: str = Field("LOCAL_QUORUM", description="scans and searches; below a quorum a scan may miss rows")
    write: str = Field("LOCAL_QUORUM", description="rows and vectors; a retry never lowers it")
    serial: str = Field("LOCAL_SERIAL", description="the catalog's compare-and-set; SERIAL across datacenters")


class CatalogSettings(Frozen):
    """Where the catalog is on a cluster."""

    keyspace: str | None = Field(None, description="a keyspace of its own; the table's keyspace if null")
    replication: Replication | None = Field(
        None, description="replication of that keyspace if schema apply creates it; if null, as the table's"
    )


class StoreSettings(Frozen):
    """The database of the articles."""

    kind: Literal["embedded", "cql"] = Field(
        "embedded", description="embedded: SQLite and USearch; cql: ScyllaDB, Cassandra"
    )
    path: Path | None = Field(None, description="embedded: the SQLite file; indexes are stored beside it")
    hosts: tuple[HostName, ...] = Field((), description="cql: contact points")
    port: int = Field(9042, ge=1, le=65535, description="cql: the port of the native protocol")
    local_dc: str | None = Field(None, description="cql: the datacenter to connect to; required")
    keyspace: str | None = Field(
        None, pattern=r"^[a-zA-Z][a-zA-Z0-9_]{0,47}$", description="cql: the keyspace of the tables"
    )
    replication: Replication | None = Field(
        None, description="cql: replication of the keyspace if schema apply creates it; by datacenter, copies or racks"
    )
    tls: TlsSettings | None = Field(None, description="cql: encryption; off if null")
    credentials_file: Path | None = Field(
        None, description="cql: a file with two lines, user and password; if null, SCYLLA_USERNAME and SCYLLA_PASSWORD"
    )
    consistency: ConsistencySettings = ConsistencySettings()
    request_timeout: Duration = Field(
        timedelta(seconds=12), description="for one request; scans retry with smaller pages"
    )
    connect_timeout: Duration = Field(timedelta(seconds=10), description="for opening one connection")
    concurrency: int = Field(
        64, ge=1, le=1024, description="maximum writes in flight per task; fewer if the cluster is slow"
    )
    vector_status: tuple[VectorStoreAddress, ...] = Field(
        (),
        description="ScyllaDB: addresses of the vector stores, http://host:port or https://host:port, to ask whether "
        "an index is ready",
    )
    vector_tls: TlsSettings | None = Field(
        None, description="ScyllaDB: encryption to the https addresses; the machine's own authorities if null"
    )
    catalog: CatalogSettings = CatalogSettings()

    @model_validator(mode="after")
    def _complete(self) -> StoreSettings:
        if self.kind == "embedded" and self.path is None:
            raise ValueError("an embedded store needs path: the SQLite file, such as .embedshift/articles.sqlite")
        if self.kind == "cql":
            missing = [key for key in ("hosts", "local_dc", "keyspace") if not getattr(self, key)]
            if missing:
                raise ValueError(f"a cql store needs {', '.join(missing)}")
        return self


def credentials(store: StoreSettings) -> tuple[str, str] | None:
    """User and password from the credentials file or the environment; None if neither has them."""
    if store.credentials_file is None:
        user, password = os.environ.get("SCYLLA_USERNAME"), os.environ.get("SCYLLA_PASSWORD")
        return (user, password) if user and password is not None else None
    try:
        lines = store.credentials_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"cannot read store.credentials_file {store.credentials_file} ({reason})") from error
    if len(lines) < 2:
        raise SettingsError(f"{store.credentials_file} needs two lines, user and password")
    return lines[0].strip(), lines[1].strip()
