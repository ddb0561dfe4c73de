"""Tables: described from the server's own schema, created with the same definitions."""

from __future__ import annotations

from jobs.errors import SchemaError
from jobs.stores.contract import Column, Role, Table
from jobs.stores.cql.dialects import Dialect
from jobs.stores.cql.names import listed, options, qualified, quote
from jobs.stores.cql.session import Link
from jobs.stores.values import is_many_celled

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


def exists(link: Link, name: str) -> bool:
    """Whether the keyspace has a table of that name."""
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
    return bool(link.rows(query, (link.keyspace, name), doing=f"looking for the table {name}"))


def keyspace_exists(link: Link, keyspace: str) -> bool:
    """Whether the cluster has that keyspace."""
    query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?"
    return bool(link.rows(query, (keyspace,), doing=f"looking for the keyspace {keyspace}"))


def describe(link: Link, name: str, dialect: Dialect | None = None) -> Table:
    """The table's columns: the primary key in its order, the others by name.

    Args:
        dialect: says whether the write times of collections can be told; None: they can.

    Raises:
        SchemaError: no such keyspace or table, or one that cannot be copied.
    """
    rows = link.rows(_COLUMNS, (link.keyspace, name), doing=f"describing {name}")
    if not rows:
        missing = (
            f"table {link.keyspace}.{name}" if keyspace_exists(link, link.keyspace) else f"keyspace {link.keyspace}"
        )
        raise SchemaError(
            f"{link.where} has no {missing}",
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
    counters = [column.name for column in columns if column.type == "counter"]
    if counters:
        raise SchemaError(
            f"{name} counts in {', '.join(counters)}, and counters cannot be written with a time of their own",
            hint="move the counters to a table of their own",
        )
    return Table(name, columns)


def creation(keyspace: str, table: Table) -> str:
    """The CREATE TABLE statement of a table."""
    partition = [column.name for column in table.keys if column.role == "partition"]
    clustering = [column for column in table.keys if column.role == "clustering"]
    lines = [
        f"{quote(column.name)} {column.type}{' static' if column.role == 'static' else ''}" for column in table.columns
    ]
    key = f"({listed(partition)})" + "".join(f", {quote(column.name)}" for column in clustering)
    statement = f"CREATE TABLE {qualified(keyspace, table.name)} ({', '.join(lines)}, PRIMARY KEY ({key}))"
    if any(column.descending for column in clustering):
        order = ", ".join(f"{quote(each.name)} {'DESC' if each.descending else 'ASC'}" for each in clustering)
        statement += f" WITH CLUSTERING ORDER BY ({order})"
    return statement


def create(link: Link, table: Table) -> None:
    """Create a table. Raises SchemaError where the name is taken, or the server does not know a type."""
    if not any(column.role == "partition" for column in table.columns):
        raise SchemaError(f"the table {table.name} has no partition key", hint="give a column the role partition")
    if exists(link, table.name):
        raise SchemaError(f"there is a table {link.keyspace}.{table.name} already", hint="choose another name")
    link.define(creation(link.keyspace, table), f"creating the table {table.name}")


def add_column(link: Link, table: str, column: Column) -> None:
    """Add a regular column. Raises SchemaError where the name is taken."""
    present = describe(link, table).column(column.name)
    if present is not None:
        raise SchemaError(f"{table} has a column {column.name} of type {present.type}", hint="choose another name")
    statement = f"ALTER TABLE {qualified(link.keyspace, table)} ADD {quote(column.name)} {column.type}"
    link.define(statement, f"adding a column to {table}")


def drop(link: Link, table: str) -> None:
    """Drop a table with its indexes; no error where it is gone."""
    if exists(link, table):
        link.define(f"DROP TABLE IF EXISTS {qualified(link.keyspace, table)}", f"dropping the table {table}")


def remarks(table: Table, dialect: Dialect) -> list[str]:
    """What a copy of this table cannot keep, a line each."""
    lines = []
    if any(column.role == "regular" for column in table.columns):
        lines.append(
            "CQL does not tell when a row itself was inserted: the copy's row marker takes the time of the values that "
            "live longest, so a row whose values are all deleted later stays as a row of nulls"
        )
    many = [column.name for column in table.others if is_many_celled(column.type)]
    if many and dialect.time_of_collection(many[0]) is not None:
        lines.append(
            f"the elements of {', '.join(many)} are copied with one write time, the greatest among them, and one TTL, "
            "the longest; what expires or is removed among them is found by sync, and after the cutover by nothing"
        )
    elif many:
        lines.append(
            f"{dialect.product} does not tell when {', '.join(many)} were written: they are copied with the greatest "
            "write time of the row's other columns and that column's TTL, and later compared by value; once the alias "
            "has moved, the live table's value stays"
        )
    return lines


def create_keyspaces(link: Link, dialect: Dialect) -> list[str]:
    """Create the keyspaces of the tables and of the catalog where they are missing; returns the names created."""
    settings = link.settings
    usual: dict[str, str | int] = {str(settings.local_dc): 1}
    replication = settings.replication or usual
    wanted = {link.keyspace: (replication, False)}
    if settings.catalog.keyspace and settings.catalog.keyspace != link.keyspace:
        wanted[settings.catalog.keyspace] = (settings.catalog.replication or replication, True)
    created = []
    for name, (copies, catalog) in wanted.items():
        if not keyspace_exists(link, name):
            link.define(keyspace_creation(name, copies, dialect, catalog=catalog), f"creating the keyspace {name}")
            created.append(name)
    return created


def keyspace_creation(name: str, replication: dict[str, str | int], dialect: Dialect, *, catalog: bool) -> str:
    """The CREATE KEYSPACE statement; replicas are counted by datacenter where no class is named."""
    named = replication if "class" in replication else {"class": "NetworkTopologyStrategy", **replication}
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {quote(name)} WITH replication = {options(named)}"
        f"{dialect.keyspace_options(catalog=catalog)}"
    )
