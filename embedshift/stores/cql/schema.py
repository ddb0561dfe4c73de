"""Tables and keyspaces: described from the server's own schema, created, altered and dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from embedshift.errors import EmbedshiftError, SchemaError
from embedshift.settings import Replication
from embedshift.stores.cql.dialect import Dialect
from embedshift.stores.cql.quoting import listed, options, qualified, quote
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql_types import is_many_celled
from embedshift.stores.model import NO_OPTIONS, Column, Role, Table

_ROLES: dict[str, Role] = {
    "partition_key": "partition",
    "clustering": "clustering",
    "static": "static",
    "regular": "regular",
}
_COLUMNS = (
    "SELECT column_name, kind, position, clustering_order, type FROM system_schema.columns "
    "WHERE keyspace_name = ? AND table_name = ?"
)


def exists(connection: CqlConnection, name: str) -> bool:
    """Whether the keyspace has a table of that name."""
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
    return bool(connection.rows(query, (connection.keyspace, name), doing=f"looking for the table {name}"))


def table_id(connection: CqlConnection, name: str) -> str:
    """The table's own id. Raises SchemaError if there is no such table."""
    query = "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
    rows = connection.rows(query, (connection.keyspace, name), doing=f"looking for the table {name}")
    if not rows:
        raise SchemaError(
            f"{connection.where} has no table {connection.keyspace}.{name}", hint="look at embedshift status"
        )
    return str(rows[0]["id"])


def keyspace_exists(connection: CqlConnection, keyspace: str) -> bool:
    """Whether the cluster has that keyspace."""
    query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?"
    return bool(connection.rows(query, (keyspace,), doing=f"looking for the keyspace {keyspace}"))


def describe(connection: CqlConnection, name: str, dialect: Dialect | None = None) -> Table:
    """The table's columns: the primary key in its order, the others by name.

    Args:
        dialect: tells whether the server knows write times of collections, and row TTLs; None: the one, not the other.

    Raises:
        SchemaError: no such keyspace or table, or one that cannot be copied.
    """
    rows = connection.rows(_COLUMNS, (connection.keyspace, name), doing=f"describing {name}")
    if not rows:
        missing = (
            f"table {connection.keyspace}.{name}"
            if keyspace_exists(connection, connection.keyspace)
            else f"keyspace {connection.keyspace}"
        )
        raise SchemaError(
            f"{connection.where} has no {missing}",
            hint="check store.keyspace and the table's name, or create them: embedshift schema apply",
        )
    untimed = dialect is not None and dialect.time_of_collection("any") is None
    order = list(_ROLES)
    rows.sort(key=lambda row: (order.index(row["kind"]), row["position"], row["column_name"]))
    columns = tuple(
        Column(
            row["column_name"],
            row["type"],
            _ROLES[row["kind"]],
            descending=row["clustering_order"] == "desc",
            untimed=untimed and is_many_celled(row["type"]),
        )
        for row in rows
    )
    if dialect is not None and untimed:
        fields = dialect.field_times(connection, name, columns)
        columns = tuple(
            replace(column, untimed=False, fields=fields[column.name]) if column.name in fields else column
            for column in columns
        )
    counters = [column.name for column in columns if column.type == "counter"]
    if counters:
        raise SchemaError(
            f"{name} counts in {', '.join(counters)}, and counters cannot be written with a time of their own",
            hint="move the counters to a separate table",
        )
    return Table(name, columns, dialect.row_ttl(connection, name, columns) if dialect is not None else None)


def creation(keyspace: str, table: Table, given: Mapping[str, str] = NO_OPTIONS) -> str:
    """The CREATE TABLE statement of a table, with options in the server's words."""
    partition = [column.name for column in table.keys if column.role == "partition"]
    clustering = [column for column in table.keys if column.role == "clustering"]
    lines = [
        f"{quote(column.name)} {column.type}{' static' if column.role == 'static' else ''}" for column in table.columns
    ]
    key = f"({listed(partition)})" + "".join(f", {quote(column.name)}" for column in clustering)
    statement = f"CREATE TABLE {qualified(keyspace, table.name)} ({', '.join(lines)}, PRIMARY KEY ({key}))"
    clauses = [f"{name} = {value}" for name, value in given.items()]
    if any(column.descending for column in clustering):
        order = ", ".join(f"{quote(each.name)} {'DESC' if each.descending else 'ASC'}" for each in clustering)
        clauses.insert(0, f"CLUSTERING ORDER BY ({order})")
    return statement + (f" WITH {' AND '.join(clauses)}" if clauses else "")


def create(connection: CqlConnection, table: Table, given: Mapping[str, str] = NO_OPTIONS) -> None:
    """Create a table (``contract.Store.create``)."""
    if not any(column.role == "partition" for column in table.columns):
        raise SchemaError(f"the table {table.name} has no partition key", hint="give a column the role partition")
    if exists(connection, table.name):
        raise SchemaError(f"there is a table {connection.keyspace}.{table.name} already", hint="choose another name")
    connection.define(creation(connection.keyspace, table, given), f"creating the table {table.name}")


def add_column(connection: CqlConnection, table: str, column: Column) -> None:
    """Add a regular column. Raises SchemaError if the name is taken."""
    present = describe(connection, table).column(column.name)
    if present is not None:
        raise SchemaError(f"{table} has a column {column.name} of type {present.type}", hint="choose another name")
    statement = f"ALTER TABLE {qualified(connection.keyspace, table)} ADD {quote(column.name)} {column.type}"
    connection.define(statement, f"adding a column to {table}")


def drop(connection: CqlConnection, table: str) -> None:
    """Drop a table with its indexes; no error if there is none."""
    if exists(connection, table):
        connection.define(
            f"DROP TABLE IF EXISTS {qualified(connection.keyspace, table)}", f"dropping the table {table}"
        )


def remarks(table: Table, dialect: Dialect) -> list[str]:
    """What a copy of this table cannot keep, one line each."""
    lines = []
    if table.row_ttl is not None:
        lines.append(
            f"the server deletes rows of {table.name} by the time in {table.row_ttl}. The copy's rows expire like this "
            "from the cutover on; until then sync carries the deletions"
        )
    if any(column.role == "regular" for column in table.columns):
        lines.append(
            "CQL does not tell when a row itself was inserted. The copy's row marker takes the time of the values that "
            "live longest, so a row whose values are all deleted later stays as a row of nulls"
        )
    many = [column for column in table.others if is_many_celled(column.type)]
    has_times = dialect.time_of_collection("any") is not None
    if told := [column.name for column in many if has_times or column.fields]:
        lines.append(
            f"the elements of {', '.join(told)} are copied with one write time, the greatest among them, and one TTL, "
            "the longest. Sync finds elements that expire or are removed; after the cutover nothing finds them"
        )
    if untold := [column.name for column in many if not has_times and not column.fields]:
        lines.append(
            f"{dialect.product} does not tell when {', '.join(untold)} were written. They are copied with the greatest "
            "write time of the row's other columns and that column's TTL, and later compared by value. After the "
            "cutover the live table's value stays"
        )
    return lines


def create_keyspaces(connection: CqlConnection, dialect: Dialect) -> list[str]:
    """Create the keyspaces of the tables and of the catalog if they are missing; return the names created."""
    settings = connection.settings
    replication: Replication = settings.replication or {str(settings.local_dc): 1}
    wanted = {connection.keyspace: (replication, False)}
    if settings.catalog.keyspace and settings.catalog.keyspace != connection.keyspace:
        wanted[settings.catalog.keyspace] = (settings.catalog.replication or replication, True)
    created = []
    for name, (copies, catalog) in wanted.items():
        if not keyspace_exists(connection, name):
            connection.define(
                keyspace_creation(name, copies, dialect, catalog=catalog), f"creating the keyspace {name}"
            )
            created.append(name)
    if created:
        connection.know_replicas()
    return created


def keyspace_creation(name: str, replication: Replication, dialect: Dialect, *, catalog: bool) -> str:
    """The CREATE KEYSPACE statement; replicas are counted by datacenter if no class is named."""
    named: Replication = replication if "class" in replication else {"class": "NetworkTopologyStrategy", **replication}
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {quote(name)} WITH replication = {options(named)}"
        f"{dialect.keyspace_options(catalog=catalog)}"
    )


def snapshot(connection: CqlConnection, dialect: Dialect, table: str) -> str:
    """Where a copy will be after the table is dropped.

    Raises:
        SchemaError: a node does not keep one, or does not tell whether it does.
    """
    query = f"SELECT value FROM {dialect.settings_view} WHERE name = 'auto_snapshot'"
    for host in connection.hosts():
        try:
            found = connection.rows(query, doing="asking whether dropped tables are kept", host=host)
        except EmbedshiftError:
            found = []
        if not found or str(found[0]["value"]).lower() != "true":
            raise SchemaError(
                f"the node {host.address} does not say that it keeps a snapshot of a table that is dropped",
                hint=f"run nodetool snapshot -t NAME {connection.keyspace} on every node, "
                "then retire without --snapshot",
            )
    return f"a snapshot of {table} on every node, made as it is dropped: nodetool listsnapshots"
