"""Which node is asked: a replica of the rows where that is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import BoundStatement, PreparedStatement


class RangeStatement(BoundStatement):  # type: ignore[misc] # the driver ships no types
    """A bound statement that reads a token range.

    Args:
        statement: the prepared statement.
        values: as the protocol has them.
        end: the last token of the range, whose replicas are asked first.
    """

    def __init__(self, statement: PreparedStatement, values: list[Any], end: int) -> None:
        super().__init__(statement)
        self.values = values
        self.range_end = end


class ReplicasFirst(TokenAwarePolicy):  # type: ignore[misc] # the driver ships no types
    """Token-aware for token ranges too, which the driver's policy is not: it wants a partition key.

    Args:
        local_dc: the only datacenter whose nodes are asked.
    """

    def __init__(self, local_dc: str) -> None:
        super().__init__(DCAwareRoundRobinPolicy(local_dc=local_dc))

    def make_query_plan(self, working_keyspace: str | None = None, query: Any = None) -> Iterator[Any]:
        """The nodes to try for a request, in order."""
        usual = list(super().make_query_plan(working_keyspace, query))
        tokens = self._cluster_metadata.token_map
        if isinstance(query, RangeStatement) and tokens is not None:
            holders = tokens.get_replicas(query.keyspace, tokens.token_class(query.range_end))
            usual.sort(key=lambda host: host not in holders)
        return iter(usual)
