"""The driver's exceptions as errors of one line, and which of them are worth a retry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cassandra import (
    AuthenticationFailed,
    ConfigurationException,
    CoordinationFailure,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    RateLimitReached,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    UnresolvableContactPoints,
    WriteTimeout,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.protocol import (
    ConfigurationException as ConfigurationMessage,
)
from cassandra.protocol import (
    ErrorMessage,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    SyntaxException,
)

from embedshift.errors import EmbedshiftError, NotPermitted, SchemaError, SettingsError, StoreUnavailable

#: What the driver and the server raise; anything else is a bug of this program.
RAISED = (DriverException, NoHostAvailable, ErrorMessage, ConnectionException, ConnectionBusy, OSError)
#: The server understood the request and refuses it: a retry changes nothing.
REFUSED = (InvalidRequest, ConfigurationException, ConfigurationMessage, SyntaxException)
#: The same request may succeed a moment later.
TRANSIENT = (
    OperationTimedOut,
    ReadTimeout,
    WriteTimeout,
    Unavailable,
    CoordinationFailure,
    NoHostAvailable,
    ConnectionException,
    ConnectionBusy,
    RateLimitReached,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ServerError,
)

_MESSAGE = re.compile(r'message="(.*?)"(?: info=|>|$)', re.DOTALL)
# The driver reports errors of a TLS handshake as text, inside an OSError of another class.
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?)(?: \(_ssl|$)")
_HANDSHAKE = re.compile(r"\[SSL: (\w+)\]")
#: ScyllaDB, of the vector stores behind it. All of it comes as an InvalidRequest; this passes, or may.
_VECTOR_STORE = re.compile(r"vector store", re.I)
_PASSING = re.compile(
    r"service is unavailable|request was aborted|could not be fetched from DNS|HTTP status (404|429|5\d\d)", re.I
)
#: ScyllaDB, of a write that is older than its table's change log (its ``cdc/metadata.cc``).
_BEFORE_LOG = re.compile(r"could not find any CDC streams", re.I)
#: ScyllaDB, of a write more than five seconds in its future.
_FROM_FUTURE = re.compile(r"from the future", re.I)
_VECTOR_STORE_HINT = "a vector store is down or still builds the index; see its status and log, and run again"
_AHEAD = "the clock of whoever wrote it is ahead of the server's; synchronise them"
_ABSENT = re.compile(
    r"(table|keyspace) \S+ does not exist|unconfigured table|keyspace '?\S+'? (does not|doesn't) exist", re.I
)


def server_words(error: BaseException) -> str:
    """The server's message without the driver's additions, on one line."""
    text = getattr(error, "message", None)
    if not isinstance(text, str):
        found = _MESSAGE.search(str(error))
        text = found[1] if found else str(error)
    return " ".join(text.split()).rstrip(".")


def refusal(error: BaseException) -> str:
    """Why a server will never accept a request, and what its author can do about it."""
    words = server_words(error)
    return f"{words}: {_AHEAD}" if _FROM_FUTURE.search(words) else words


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, NoHostAvailable):
        final = AuthenticationFailed | Unauthorized
        return not any(isinstance(each, final) or _HANDSHAKE.search(str(each)) for each in _causes(error))
    words = server_words(error)
    if isinstance(error, InvalidRequest):
        return bool(_VECTOR_STORE.search(words) and _PASSING.search(words))
    return isinstance(error, TRANSIENT) and not _BEFORE_LOG.search(words)


def is_absent(error: BaseException) -> bool:
    """Whether the server refused because there is no such table or keyspace."""
    return isinstance(error, REFUSED) and bool(_ABSENT.search(server_words(error)))


def explained(error: BaseException, doing: str, where: str) -> EmbedshiftError:
    """An error of the driver or the server as an error of this program.

    Args:
        error: what was raised.
        doing: what was tried, for people: ``reading articles``.
        where: the cluster, for people: ``127.0.0.1:9042``. Never a secret.
    """
    words = server_words(error)
    if isinstance(error, EmbedshiftError):
        return error
    if isinstance(error, Unauthorized):
        return NotPermitted(f"{where} does not permit {doing} ({words})", hint="grant this user the permission")
    if isinstance(error, AuthenticationFailed):
        return _login(error, where)
    if isinstance(error, REFUSED) and not is_transient(error):
        if _ABSENT.search(words):
            hint = "check store.keyspace and the table's name, or create them: embedshift schema apply"
            return SchemaError(f"{doing} at {where}: {words}", hint=hint)
        return SchemaError(f"{where} refused {doing} ({words})", hint=_advice(words))
    if isinstance(error, InvalidRequest):
        return StoreUnavailable(f"{where} failed at {doing} ({words})", hint=_VECTOR_STORE_HINT)
    if _BEFORE_LOG.search(words):
        return SchemaError(
            f"{where} refused {doing}: a write is older than the table's change log ({words})",
            hint="run the step again: it asks anew since when the log is whole",
        )
    if isinstance(error, NoHostAvailable):
        return _unreachable(error, doing, where)
    return StoreUnavailable(
        f"{where} failed at {doing} ({_kind(error)}: {words})", hint="see the server's log; run again"
    )


def _advice(words: str) -> str:
    if re.search(r"lightweight|LWT", words, re.I) and "tablet" in words.lower():
        return "name a keyspace without tablets under store.catalog.keyspace and run embedshift schema apply"
    if _FROM_FUTURE.search(words):
        return _AHEAD
    if "ALLOW FILTERING" in words or "restricted column(s) to be indexed" in words:
        return "each column of the condition must be in an index, see docs/index-options.md"
    if "CDC is explicitly disabled" in words:
        return "ALTER TABLE … WITH cdc = {'enabled': true}, and run it again"
    if "ALLOW_CUSTOM_PARAMETERS" in words:
        return (
            "start the nodes with -Dcassandra.sai.vector.allow_custom_parameters=true, or leave out "
            "target.index.connections and expansion_add"
        )
    if "guardrail" in words.lower():
        return "ask the cluster's operator to raise this guardrail"
    return ""


def refused_connection(error: BaseException, where: str, *, user: str | None, encrypted: bool) -> EmbedshiftError:
    """Why no connection could be opened, and which setting to check."""
    if isinstance(error, UnresolvableContactPoints):
        return StoreUnavailable(f"none of the hosts {where} has an address", hint="check store.hosts")
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, AuthenticationFailed):
            return _login(cause, where, user)
        untrusted = _UNTRUSTED.search(str(cause))
        if untrusted:
            hint = "check store.tls.ca; the certificate must name the node, or set store.tls.check_hostname: false"
            return StoreUnavailable(f"the certificate of {where} is not trusted ({untrusted[1]})", hint=hint)
        handshake = _HANDSHAKE.search(str(cause))
        if handshake:
            hint = "check store.tls, its certificate and key, and that this port speaks TLS"
            return StoreUnavailable(f"no encrypted connection to {where} ({handshake[1]})", hint=hint)
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            hint = "check store.hosts and store.port, and that the server runs"
            return StoreUnavailable(f"nothing listens at {where}", hint=hint)
        if isinstance(cause, OperationTimedOut | TimeoutError):
            hint = "check store.hosts, store.port and the firewall, or raise store.connect_timeout"
            return StoreUnavailable(f"no answer from {where}", hint=hint)
    reason = "; ".join(sorted({server_words(cause) for cause in causes})) or _kind(error)
    hint = (
        "check store.port, and that the server speaks TLS there"
        if encrypted
        else "check store.port; a server that requires TLS needs store.tls"
    )
    return StoreUnavailable(f"no connection to {where} ({reason})", hint=hint)


def wrong_datacenter(named: str, known: list[str]) -> SettingsError:
    """``store.local_dc`` names a datacenter that the cluster does not have."""
    return SettingsError(
        f"the cluster has no datacenter {named!r}, it has {', '.join(sorted(known))}",
        hint=f"set store.local_dc: {sorted(known)[0]}",
    )


def _login(error: BaseException, where: str, user: str | None = None) -> StoreUnavailable:
    if user is None:
        hint = "set SCYLLA_USERNAME and SCYLLA_PASSWORD, or store.credentials_file"
        return StoreUnavailable(f"{where} asks for a user and a password", hint=hint)
    return StoreUnavailable(
        f"{where} does not accept the password of user {user!r}",
        hint="check SCYLLA_USERNAME and SCYLLA_PASSWORD, or store.credentials_file",
    )


def _unreachable(error: NoHostAvailable, doing: str, where: str) -> EmbedshiftError:
    for cause in _causes(error):
        if isinstance(cause, (*REFUSED, Unauthorized)):
            return explained(cause, doing, where)
    reasons = "; ".join(sorted({server_words(cause) for cause in _causes(error)})) or "every node is down"
    return StoreUnavailable(
        f"no node of {where} completed {doing} ({reasons})", hint="check that the nodes are up; run again"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside a NoHostAvailable, or the exception itself, with what caused each."""
    inner = getattr(error, "errors", None)
    found = list(inner.values()) if isinstance(inner, dict) and isinstance(error, NoHostAvailable) else [error]
    for each in found:
        at: BaseException | None = each if isinstance(each, BaseException) else None
        while at is not None:
            yield at
            at = at.__cause__ or at.__context__


def _kind(error: BaseException) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
