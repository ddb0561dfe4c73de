"""Who may do what, where the Cassandra underneath asks for passwords (SCYLLADB.md, "Rights").

Cassandra judges what reaches it, by the role that a client has logged in as. Judged here are the statements that the
stand-in answers by itself, and ScyllaDB's system tables.
"""

from __future__ import annotations

from tests.scylla import words
from tests.scylla.catalog import KEYSPACE, Catalog, quoted
from tests.scylla.indexing import is_vector_class
from tests.scylla.selects import Definition
from tests.scylla.statements import Select
from tests.scylla.tokens import tokens_of, unquoted

#: Keyspaces of Cassandra that ScyllaDB does not have.
_ABSENT = frozenset({"system_views", "system_virtual_schema"})


class Rights:
    """The rights of roles.

    Args:
        catalog: the schema.
        superuser: the name of the role that may do everything; empty if Cassandra asks for no passwords.
    """

    def __init__(self, catalog: Catalog, superuser: str) -> None:
        self._catalog, self._superuser = catalog, superuser
        self._granted: set[tuple[str, str]] = set()

    def check_system(self, role: str, select: Select) -> None:
        """Refuse a system table that is not free to every user. Raises Refused."""
        if select.keyspace != "system" or select.table not in words.GUARDED:
            return
        poor = self._superuser and role != self._superuser and (role, select.table) not in self._granted
        if poor or self._catalog.rights_on_keyspace_alone:
            raise words.no_permission("SELECT", "system", select.table, role or "application")

    async def check_definition(self, role: str, stated: Definition, index_table: str) -> None:
        """Refuse what the stand-in does by itself: an index is part of its table, and so is its expiry.

        Args:
            role: who asks.
            stated: the statement.
            index_table: the table of the vector index that it drops; empty if it drops none.
        """
        table = index_table
        if stated.what == "CREATE INDEX" and is_vector_class(stated.index_class):
            table = stated.table
        elif stated.what == "ALTER TABLE" and not stated.forward:
            table = stated.name
        if not table or not self._superuser or role == self._superuser:
            return
        on = f"{quoted(stated.keyspace)}.{quoted(table)}"
        if not await self._catalog.own.rows(f"LIST ALTER ON TABLE {on} OF {quoted(role)}"):
            raise words.no_permission("ALTER", stated.keyspace, table, role)

    def granted(self, text: str) -> bool:
        """Whether the statement grants a system table that only ScyllaDB has; then it is noted. Raises Refused."""
        if text[:5].upper() != "GRANT":
            return False
        tokens = [token for token in tokens_of(text) if token.word != "TABLE"]
        names = [unquoted(token) for token in tokens]
        if absent := _ABSENT.intersection(names):
            raise words.invalid(f"<keyspace {min(absent)}> doesn't exist")
        if names[1:5] == ["select", "on", "system", "."] and names[5] in words.GUARDED:
            self._granted.add((names[-1], names[5]))
            return True
        return False

    async def made(self, text: str) -> None:
        """A new role may read those of ScyllaDB's system tables that are free to every user."""
        tokens = tokens_of(text) if self._superuser and text[:6].upper() == "CREATE" else []
        if [token.word for token in tokens[:2]] == ["CREATE", "ROLE"]:
            await self._catalog.own.query(f"GRANT SELECT ON KEYSPACE {KEYSPACE} TO {quoted(unquoted(tokens[2]))}")
