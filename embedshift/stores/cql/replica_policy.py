"""Which node a request is sent to: a replica of the rows if the replicas are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import BoundStatement, PreparedStatement


class RangeStatement(BoundStatement):  # type: ignore[misc] # the driver ships no types
    """A bound statement that reads a token range.

    Args:
        statement: the prepared statement.
        values: in the protocol's form.
        end: the last token of the range; its replicas are tried first.
    """

    def __init__(self, statement: PreparedStatement, values: list[Any], end: int) -> None:
        super().__init__(statement)
        self.values = values
        self.range_end = end


class ReplicasFirst(TokenAwarePolicy):  # type: ignore[misc] # the driver ships no types
    """Token-aware for token ranges too; the driver's own policy needs a partition key.

    Args:
        local_dc: the only datacenter whose nodes receive requests.
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
