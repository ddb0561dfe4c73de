"""The servers under test, and how they are reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import DCAwareRoundRobinPolicy, FallthroughRetryPolicy
from cassandra.query import dict_factory

from embedshift.settings import StoreSettings
from scripts.run_cassandra import CassandraCluster
from tests.scylla.stand_in import StandIn
from tests.scylla.vector_index import Reader

KEYSPACE, CATALOG_KEYSPACE = "scylla_ks", "scylla_catalog_ks"
#: The slow reader of the session's stand-in: as the real one, in a thirtieth of the time.
SLOW = Reader(1.0, 0.3)


@dataclass(frozen=True)
class Server:
    """A server under test.

    Args:
        settings: how the product reaches it.
        stand_in: None if it is a real one.
        settled_s: after so many seconds both readers of the vector store have passed what was written before.
    """

    settings: StoreSettings
    stand_in: StandIn | None
    settled_s: float


def settings_of(stand_in: StandIn, cluster: CassandraCluster, **changes: Any) -> StoreSettings:
    """Settings for the stand-in; its keyspaces are not made."""
    replication = {"class": "NetworkTopologyStrategy", cluster.datacenter: 1}
    usual: dict[str, Any] = {
        "kind": "cql",
        "hosts": (stand_in.host,),
        "port": stand_in.port,
        "local_dc": cluster.datacenter,
        "keyspace": KEYSPACE,
        "replication": replication,
        "vector_status": (stand_in.vector_store.address,),
        "catalog": {"keyspace": CATALOG_KEYSPACE, "replication": replication},
    }
    return StoreSettings(**(usual | changes))


def connected(settings: StoreSettings, **versions: int) -> Session:
    """A session of the plain driver, which sends nothing twice; it asks for a version, or steps down by itself."""
    profile = ExecutionProfile(
        load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=settings.local_dc),
        retry_policy=FallthroughRetryPolicy(),
        row_factory=dict_factory,
    )
    profiles = {EXEC_PROFILE_DEFAULT: profile}
    return Cluster(list(settings.hosts), port=settings.port, execution_profiles=profiles, **versions).connect()
