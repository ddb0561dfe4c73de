"""Rows of a cluster's tables, read only with the driver's own paging: values, write times and TTLs."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.metadata import protect_name
from cassandra.policies import DCAwareRoundRobinPolicy
from cassandra.query import SimpleStatement, dict_factory

_PAGE_ROWS = 500
_TIMEOUT_S = 30.0


def quoted(name: str) -> str:
    """An identifier as it is written in a statement."""
    return str(protect_name(name))


@dataclass(frozen=True, slots=True)
class Read:
    """A row as it was read, without the columns that were left out.

    ``times`` are microseconds since the epoch, ``ttls`` seconds left; both are lists for collections, and None if a
    cell does not exist or does not expire. ``at_s`` is when its page arrived (seconds since the epoch), ``took_s`` how
    long that took.
    """

    key: tuple[Any, ...]
    named_key: dict[str, Any]
    values: dict[str, Any]
    times: dict[str, Any]
    ttls: dict[str, Any]
    at_s: float
    took_s: float

    @property
    def named(self) -> dict[str, Any]:
        """Key and values by column."""
        return {**self.named_key, **self.values}


class Plain:
    """A session of its own with the store of a settings file; close it, or use it in a with statement."""

    def __init__(self, session: Session, keyspace: str, catalog: str) -> None:
        self._session = session
        self._keyspace = keyspace
        self.catalog = catalog

    @classmethod
    def open(cls, store: Mapping[str, Any]) -> Plain:
        """Connect.

        Args:
            store: the section ``store`` of the settings, as read from YAML.
        """
        profile = ExecutionProfile(
            load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=store["local_dc"]),
            consistency_level=ConsistencyLevel.QUORUM,
            request_timeout=_TIMEOUT_S,
            row_factory=dict_factory,
        )
        cluster = Cluster(
            list(store["hosts"]),
            port=store.get("port", 9042),
            auth_provider=_login(store),
            ssl_context=_tls(store.get("tls")),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            connect_timeout=_TIMEOUT_S,
            protocol_version=4,
        )
        try:
            session = cluster.connect()
        except BaseException:
            cluster.shutdown()
            raise
        keyspace = store["keyspace"]
        return cls(session, keyspace, (store.get("catalog") or {}).get("keyspace") or keyspace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.cluster.shutdown()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """All rows of a statement with ``%s`` for each of ``values``."""
        return list(self._session.execute(SimpleStatement(query, fetch_size=_PAGE_ROWS), tuple(values)))

    def cell(self, table: str, column: str, key: Mapping[str, Any]) -> Any:
        """One value; None if it does not exist."""
        where = " AND ".join(f"{quoted(name)} = %s" for name in key)
        found = self.rows(f"SELECT {quoted(column)} FROM {self._named(table)} WHERE {where}", list(key.values()))
        return found[0][column] if found else None

    def read(self, table: str, *, leave_out: Collection[str], also: str = "") -> Iterator[Read]:
        """The rows of a table in the order of the ring, page by page.

        Args:
            leave_out: columns that are not read.
            also: a left-out column whose value is read, if the table has it.
        """
        keys, others = self._columns(table)
        timed = [name for name in others if name not in leave_out]
        valued = timed + [name for name in others if name == also]
        asked = [quoted(name) for name in (*keys, *valued)]
        for at, name in enumerate(timed):
            asked += [f"WRITETIME({quoted(name)}) AS w{at}_", f"TTL({quoted(name)}) AS t{at}_"]
        query = SimpleStatement(f"SELECT {', '.join(asked)} FROM {self._named(table)}", fetch_size=_PAGE_ROWS)
        started = time.monotonic()
        result = self._session.execute(query)
        while True:
            at_s, took_s = time.time(), time.monotonic() - started
            for row in result.current_rows:
                yield Read(
                    tuple(row[name] for name in keys),
                    {name: row[name] for name in keys},
                    {name: row[name] for name in valued},
                    {name: row[f"w{at}_"] for at, name in enumerate(timed)},
                    {name: row[f"t{at}_"] for at, name in enumerate(timed)},
                    at_s,
                    took_s,
                )
            if not result.has_more_pages:
                return
            started = time.monotonic()
            result.fetch_next_page()

    def _named(self, table: str) -> str:
        return f"{quoted(self._keyspace)}.{quoted(table)}"

    def _columns(self, table: str) -> tuple[list[str], list[str]]:
        """The primary key's columns in order, and all others by name."""
        query = "SELECT column_name, kind, position FROM system_schema.columns WHERE keyspace_name = %s"
        rows = self.rows(f"{query} AND table_name = %s", (self._keyspace, table))
        if not rows:
            raise LookupError(f"there is no table {self._keyspace}.{table}")
        rank = {"partition_key": 0, "clustering": 1}
        keys = sorted((rank[r["kind"]], r["position"], r["column_name"]) for r in rows if r["kind"] in rank)
        return [name for _, _, name in keys], sorted(r["column_name"] for r in rows if r["kind"] not in rank)


def _login(store: Mapping[str, Any]) -> PlainTextAuthProvider | None:
    if file := store.get("credentials_file"):
        user, password = Path(file).read_text(encoding="utf-8").splitlines()[:2]
        return PlainTextAuthProvider(user.strip(), password.strip())
    names = os.environ.get("SCYLLA_USERNAME"), os.environ.get("SCYLLA_PASSWORD")
    return PlainTextAuthProvider(*names) if names[0] and names[1] is not None else None


def _tls(tls: Mapping[str, Any] | None) -> ssl.SSLContext | None:
    if not tls:
        return None
    context = ssl.create_default_context(cafile=tls["ca"])
    if tls.get("certificate"):
        context.load_cert_chain(tls["certificate"], tls.get("key"))
    context.check_hostname = tls.get("check_hostname", True)
    return context
