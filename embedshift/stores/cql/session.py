"""The connection to a cluster: hosts, logins, TLS, timeouts and consistency levels."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from cassandra import ConsistencyLevel, DriverException, UnresolvableContactPoints
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy, FallthroughRetryPolicy, TokenAwarePolicy
from cassandra.query import BoundStatement, PreparedStatement, dict_factory
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from embedshift.errors import SettingsError
from embedshift.settings import StoreSettings, credentials
from embedshift.stores.cql import driver_errors, wire
from embedshift.stores.cql.replica_policy import ReplicasFirst
from embedshift.stores.cql.tls import tls_context
from embedshift.stores.model import new_latencies

#: The version of the native protocol that ScyllaDB and every Cassandra with vectors support.
PROTOCOL_VERSION = 4
#: Bytes that are read from or written to a socket at once. With the driver's 4 KiB, one page takes hundreds of calls.
_SOCKET_BYTES = 1 << 16
READ, WRITE, SCAN, CATALOG, SERIAL = EXEC_PROFILE_DEFAULT, "write", "scan", "catalog", "serial"


class _BufferedConnection(Cluster.connection_class):  # type: ignore[misc] # the driver ships no types
    """The driver's own, with larger buffers."""

    in_buffer_size = out_buffer_size = _SOCKET_BYTES


class CqlConnection:
    """A session with a cluster: opened by the first use, and again in a child process after a fork.

    Every method raises this program's errors, never the driver's. The driver itself retries nothing and sends nothing
    twice. What may be repeated is repeated here, with back-off, until ``patience`` is over.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.keyspace = str(settings.keyspace)
        self.where = ", ".join(f"{host}:{settings.port}" for host in settings.hosts)
        self.patience = 5 * settings.request_timeout
        #: How many requests may be in flight, as last adapted by ``inflight.Window``.
        self.window = 32.0
        #: Seconds that each write took, until ``Store.latencies`` takes them.
        self.latencies = new_latencies()
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._pid = 0
        self._prepared: dict[str, PreparedStatement] = {}
        _quiet()

    @property
    def session(self) -> Session:
        """The driver's session of this process."""
        if self._session is None or self._pid != os.getpid():
            with self._lock:
                if self._session is None or self._pid != os.getpid():
                    # A forked child must not touch its parent's sockets, not even to close them.
                    self._session, self._prepared, self._pid = _connect(self.settings, self.where), {}, os.getpid()
        return self._session

    def close(self) -> None:
        """Close the connections; a second call does nothing, and a later use opens new ones."""
        with self._lock:
            session, self._session = self._session, None
            self._prepared = {}
            if session is not None and self._pid == os.getpid():
                session.cluster.shutdown()

    def prepare(self, query: str, *, idempotent: bool = True) -> PreparedStatement:
        """The prepared form of a statement, from the cache if it was prepared before."""
        session = self.session
        statement = self._prepared.get(query)
        if statement is None:
            statement = self._tried(lambda: session.prepare(query), "preparing a statement", again=True)
            statement.is_idempotent = idempotent
            self._prepared[query] = statement
        return statement

    def know_replicas(self) -> None:
        """Find out which nodes hold what, once the keyspaces exist."""
        _know_replicas(self.session.cluster, self.settings)

    def forget(self) -> None:
        """Drop prepared statements: the schema has changed."""
        self._prepared = {}

    def rows(
        self,
        query: str,
        values: Sequence[Any] = (),
        *,
        doing: str,
        profile: Any = READ,
        host: Any = None,
        again: bool = True,
    ) -> list[dict[str, Any]]:
        """Run a statement, read all its pages.

        Args:
            query: CQL with ``?`` for each of ``values``.
            values: the values, as Python objects.
            doing: what is done, for people, for the message of an error: ``reading articles``.
            profile: the execution profile.
            host: the only node to send it to; None: any node.
            again: whether the statement may be sent again after a timeout; only if it has no effect.
        """

        def run() -> list[dict[str, Any]]:
            statement: Any = self.prepare(query, idempotent=again).bind(values) if values else query
            return list(self.session.execute(statement, execution_profile=profile, host=host))

        found: list[dict[str, Any]] = self._tried(run, doing, again=again)
        return found

    def define(self, query: str, doing: str) -> None:
        """Run a statement that changes the schema; return once the nodes agree on it."""
        self._tried(
            lambda: self.session.execute(query, timeout=self.settings.request_timeout.total_seconds() * 5), doing
        )
        self.forget()

    def hosts(self) -> list[Any]:
        """The nodes of the local datacenter that are up, as the driver knows them."""
        known = self.session.cluster.metadata.all_hosts()
        return [host for host in known if host.datacenter == self.settings.local_dc and host.is_up is not False]

    def failed(self, error: BaseException, doing: str) -> Exception:
        """An error of the driver as an error of this program."""
        return driver_errors.explained(error, doing, self.where)

    def _tried(self, run: Any, doing: str, *, again: bool = False) -> Any:
        patience = self.patience if again else timedelta(0)
        try:
            return retrying(patience)(run)
        except driver_errors.RAISED as error:
            raise self.failed(error, doing) from error


def retrying(patience: timedelta) -> Retrying:
    """Retry what failed with a transient error, with growing pauses; the last error is raised unchanged."""
    return Retrying(
        retry=retry_if_exception(driver_errors.is_transient),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        reraise=True,
    )


def bound(statement: PreparedStatement, values: list[Any]) -> BoundStatement:
    """A statement with values that are bytes of the protocol already (or None, or UNSET_VALUE)."""
    ready = BoundStatement(statement)
    ready.values = values
    return ready


def consistency(name: str, key: str) -> int:
    """The number of a consistency level. Raises SettingsError, which names the known levels."""
    level = ConsistencyLevel.name_to_value.get(name.upper())
    if level is None:
        known = ", ".join(sorted(ConsistencyLevel.name_to_value))
        raise SettingsError(f"store.consistency.{key}: {name!r} is not a consistency level", hint=f"one of {known}")
    return int(level)


def _connect(settings: StoreSettings, where: str) -> Session:
    login = credentials(settings)
    user, encrypted = login[0] if login else None, settings.tls is not None
    try:
        cluster = _cluster(settings, login)
    except UnresolvableContactPoints as error:
        raise driver_errors.refused_connection(error, where, user=user, encrypted=encrypted) from error
    try:
        session = cluster.connect()
    except Exception as error:
        datacenters = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}
        cluster.shutdown()
        if isinstance(error, NoHostAvailable) and datacenters and settings.local_dc not in datacenters:
            raise driver_errors.wrong_datacenter(str(settings.local_dc), sorted(datacenters)) from None
        if isinstance(error, driver_errors.RAISED):
            raise driver_errors.refused_connection(error, where, user=user, encrypted=encrypted) from error
        raise
    wire.listen(session)
    _know_replicas(cluster, settings)
    return session


def _know_replicas(cluster: Cluster, settings: StoreSettings) -> None:
    """Read how the two keyspaces are replicated, so that a request goes to a node that has its rows.

    By itself the driver reads the schema of every table of every keyspace, in each task, and again at each change.
    """
    for name in {settings.keyspace, settings.catalog.keyspace} - {None}:
        with suppress(DriverException):  # without it requests go to any node
            cluster.refresh_keyspace_metadata(name, max_schema_agreement_wait=0)


def _cluster(settings: StoreSettings, login: tuple[str, str] | None) -> Cluster:
    return Cluster(
        list(settings.hosts),
        port=settings.port,
        connection_class=_BufferedConnection,
        protocol_version=PROTOCOL_VERSION,
        auth_provider=PlainTextAuthProvider(*login) if login else None,
        ssl_context=tls_context(settings.tls, "store.tls") if settings.tls else None,
        execution_profiles=_profiles(settings),
        connect_timeout=settings.connect_timeout.total_seconds(),
        control_connection_timeout=settings.connect_timeout.total_seconds(),
        compression=False,
        schema_metadata_enabled=False,
    )


def _profiles(settings: StoreSettings) -> dict[Any, ExecutionProfile]:
    read, write = consistency(settings.consistency.read, "read"), consistency(settings.consistency.write, "write")
    serial = consistency(settings.consistency.serial, "serial")
    if not ConsistencyLevel.is_serial(serial):
        raise SettingsError("store.consistency.serial must be LOCAL_SERIAL or SERIAL")
    # The catalog's plain reads must see the result of every compare-and-set, whatever level rows are read at.
    quorum = ConsistencyLevel.QUORUM if serial == ConsistencyLevel.SERIAL else ConsistencyLevel.LOCAL_QUORUM

    def profile(level: int, factory: Any = dict_factory, by: Any = None) -> ExecutionProfile:
        return ExecutionProfile(
            load_balancing_policy=by or TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=settings.local_dc)),
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=level,
            serial_consistency_level=serial,
            request_timeout=settings.request_timeout.total_seconds(),
            row_factory=factory,
        )

    return {
        READ: profile(read),
        WRITE: profile(write),
        SCAN: profile(read, wire.pages, ReplicasFirst(str(settings.local_dc))),
        CATALOG: profile(quorum),
        SERIAL: profile(serial),
    }


def _quiet() -> None:
    """Silence the driver's log, unless somebody chose a level for it: every failure is raised as an error anyway."""
    logger = logging.getLogger("cassandra")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def addresses(hosts: Iterable[Any]) -> tuple[str, ...]:
    """The addresses of nodes, sorted."""
    return tuple(sorted(str(host.address) for host in hosts))
