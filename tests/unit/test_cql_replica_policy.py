"""A token range is asked of the nodes that hold it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cassandra.connection import DefaultEndPoint
from cassandra.metadata import Metadata, Murmur3Token, TokenMap
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host

from embedshift.stores.cql.replica_policy import RangeStatement, ReplicasFirst


def host(number: int, datacenter: str = "here") -> Host:
    found = Host(DefaultEndPoint(f"10.0.0.{number}"), SimpleConvictionPolicy, host_id=number)
    found.set_location_info(datacenter, "rack")
    found.set_up()
    return found


def statement(end: int) -> RangeStatement:
    nothing: dict[str, Any] = dict.fromkeys(
        ["retry_policy", "consistency_level", "serial_consistency_level", "fetch_size", "custom_payload",
         "is_idempotent", "routing_key_indexes"]
    )  # fmt: skip
    column = SimpleNamespace(keyspace_name="ks", table_name="t")
    return RangeStatement(SimpleNamespace(column_metadata=[column], **nothing), [], end)


def test_the_replicas_of_the_range_come_first_and_every_local_node_after_them():
    near = [host(1), host(2), host(3)]
    abroad = host(4, "there")
    metadata = Metadata()
    tokens = [Murmur3Token(at) for at in (-100, 0, 100)]
    owners = dict(zip(tokens, near, strict=True))
    metadata.token_map = TokenMap(Murmur3Token, owners, tokens, metadata)
    metadata.token_map.tokens_to_hosts_by_ks["ks"] = {token: [owner] for token, owner in owners.items()}
    metadata.keyspaces["ks"] = SimpleNamespace()
    policy = ReplicasFirst("here")
    policy.populate(SimpleNamespace(metadata=metadata), [*near, abroad])
    for end, holder in ((-100, near[0]), (-50, near[1]), (100, near[2]), (101, near[0])):
        for _ in range(3):
            plan = list(policy.make_query_plan("ks", statement(end)))
            assert plan[0] is holder
            assert set(plan) == set(near)
