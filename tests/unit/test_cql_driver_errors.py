"""The driver's exceptions, and how they read to an operator."""

from __future__ import annotations

import ssl

import pytest
from cassandra import (
    AuthenticationFailed,
    InvalidRequest,
    OperationTimedOut,
    OperationType,
    RateLimitReached,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    UnresolvableContactPoints,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import OverloadedErrorMessage, SyntaxException

from embedshift.errors import NotPermitted, SchemaError, SettingsError, StoreUnavailable
from embedshift.stores.cql import driver_errors

WHERE = "db1:9042"
SERVER = 'Error from server: code=2200 [Invalid query] message="{}"'
PASSING = [
    OperationTimedOut(),
    ReadTimeout("slow"),
    Unavailable("down"),
    ConnectionShutdown("gone"),
    OverloadedErrorMessage(0x1001, "busy", None),
    RateLimitReached(op_type=OperationType.Write),
    NoHostAvailable("none", {"db1": ConnectionShutdown("gone")}),
]
FINAL = [
    InvalidRequest(SERVER.format("no")),
    SyntaxException(0x2000, "line 1:0", None),
    Unauthorized("no"),
    AuthenticationFailed("no"),
    NoHostAvailable("none", {"db1": AuthenticationFailed("no")}),
    NoHostAvailable("none", {"db1": OSError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: x")}),
    ValueError("a mistake of ours"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_worth_another_try(error):
    assert driver_errors.is_transient(error)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_not_worth_another_try(error):
    assert not driver_errors.is_transient(error)


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (
            InvalidRequest(SERVER.format("table nothing does not exist")),
            SchemaError,
            "reading nothing at db1:9042: table nothing does not exist: check store.keyspace and the table's name, "
            "or create them: embedshift schema apply",
        ),
        (
            InvalidRequest(SERVER.format("unconfigured table nothing")),
            SchemaError,
            "reading nothing at db1:9042: unconfigured table nothing: check store.keyspace and the table's name, "
            "or create them: embedshift schema apply",
        ),
        (
            InvalidRequest(SERVER.format("LWT is not yet supported with tablets")),
            SchemaError,
            "db1:9042 refused reading nothing (LWT is not yet supported with tablets): name a keyspace without tablets "
            "under store.catalog.keyspace and run embedshift schema apply",
        ),
        (
            Unauthorized(SERVER.format("User reader has no SELECT permission on <table ks.t> or any of its parents")),
            NotPermitted,
            "db1:9042 does not permit reading nothing (User reader has no SELECT permission on <table ks.t> or any of "
            "its parents): grant this user the permission",
        ),
        (
            InvalidRequest(SERVER.format("Vector Store error: HTTP status 400 Bad Request: requires ALLOW FILTERING")),
            SchemaError,
            "db1:9042 refused reading nothing (Vector Store error: HTTP status 400 Bad Request: requires ALLOW "
            "FILTERING): each column of the condition must be in an index, see docs/index-options.md",
        ),
        (
            InvalidRequest(SERVER.format("Vector Store service is unavailable")),
            StoreUnavailable,
            "db1:9042 failed at reading nothing (Vector Store service is unavailable): a vector store is down or still "
            "builds the index; see its status and log, and run again",
        ),
        (
            NoHostAvailable("none", {}),
            StoreUnavailable,
            "no node of db1:9042 completed reading nothing (every node is down): "
            "check that the nodes are up; run again",
        ),
        (
            OverloadedErrorMessage(0x1001, "too many requests", None),
            StoreUnavailable,
            "db1:9042 failed at reading nothing (overloaded error message: too many requests): "
            "see the server's log; run again",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_one_line_with_a_hint(error, kind, line):
    found = driver_errors.explained(error, "reading nothing", WHERE)
    assert type(found) is kind
    assert str(found) == line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnresolvableContactPoints({}), "none of the hosts db1:9042 has an address"),
        (NoHostAvailable("", {"a": ConnectionRefusedError(111, "refused")}), "nothing listens at db1:9042"),
        (NoHostAvailable("", {"a": OperationTimedOut()}), "no answer from db1:9042"),
        (NoHostAvailable("", {"a": ConnectionShutdown("closed")}), "no connection to db1:9042 (closed)"),
        (
            NoHostAvailable("", {"a": ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")}),
            "no encrypted connection to db1:9042 (WRONG_VERSION_NUMBER)",
        ),
        (
            NoHostAvailable("", {"a": OSError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-"
                                 "signed certificate in certificate chain (_ssl.c:1006)")}),
            "the certificate of db1:9042 is not trusted (self-signed certificate in certificate chain)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_a_connection_that_cannot_be_opened(error, words):
    found = driver_errors.refused_connection(error, WHERE, user="u", encrypted=False)
    assert type(found) is StoreUnavailable
    assert found.what == words
    assert found.hint
    assert "\n" not in str(found)


def test_a_login_without_a_password_and_one_with_a_wrong_one():
    error = NoHostAvailable("", {"a": AuthenticationFailed("Remote end requires authentication")})
    asked = driver_errors.refused_connection(error, WHERE, user=None, encrypted=False)
    wrong = driver_errors.refused_connection(error, WHERE, user="anna", encrypted=False)
    assert asked.what == "db1:9042 asks for a user and a password"
    assert wrong.what == "db1:9042 does not accept the password of user 'anna'"


def test_a_wrong_datacenter_names_the_right_ones():
    found = driver_errors.wrong_datacenter("moon", ["us", "eu"])
    assert type(found) is SettingsError
    assert str(found) == "the cluster has no datacenter 'moon', it has eu, us: set store.local_dc: eu"


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("Vector Store service is unavailable", True),
        ("Vector Store request was aborted", True),
        ("Vector Store service address could not be fetched from DNS", True),
        ("Vector Store error: HTTP status 503 Service Unavailable: still being constructed, progress: 33.333%", True),
        ("Vector Store error: HTTP status 404 Not Found: missing index: ks.articles_idx", True),
        ("Vector Store error: HTTP status 500 Internal Server Error: index.ann request error", True),
        ("Vector Store error: HTTP status 400 Bad Request: requires ALLOW FILTERING", False),
        ("ANN ordering by vector requires the column to be indexed using 'vector_index'", False),
        ("the service is unavailable to this user", False),
    ],
)
def test_a_failure_of_the_vector_store_passes_or_not(words, passes):
    assert driver_errors.is_transient(InvalidRequest(SERVER.format(words))) is passes
