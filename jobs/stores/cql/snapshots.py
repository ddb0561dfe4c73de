"""Snapshots of a table that is dropped: the servers make them by themselves where they are told to."""

from __future__ import annotations

from jobs.errors import EmbedshiftError, SchemaError
from jobs.stores.cql.dialects import Dialect
from jobs.stores.cql.session import Link


def snapshot(link: Link, dialect: Dialect, table: str) -> str:
    """Where a copy will be once the table is dropped.

    Raises:
        SchemaError: a node does not keep one, or does not tell.
    """
    query = f"SELECT value FROM {dialect.settings_view} WHERE name = 'auto_snapshot'"
    for host in link.hosts():
        try:
            found = link.rows(query, doing="asking whether dropped tables are kept", host=host)
        except EmbedshiftError:
            found = []
        if not found or str(found[0]["value"]).lower() != "true":
            raise SchemaError(
                f"the node {host.address} does not say that it keeps a snapshot of a table that is dropped",
                hint=f"run nodetool snapshot -t NAME {link.keyspace} on every node, then retire without --snapshot",
            )
    return f"a snapshot of {table} on every node, made as it is dropped: nodetool listsnapshots"
