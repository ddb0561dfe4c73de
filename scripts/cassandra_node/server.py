"""How a node is started: the JVM's command line, and cassandra.yaml (as JSON, which is also YAML)."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scripts.cassandra_node.errors import CassandraUnavailable
from scripts.cassandra_node.spec import ClusterSpec
from scripts.cassandra_node.tls import TlsFiles

DATACENTER = "datacenter1"  # what SimpleSnitch calls it

# With a few ranges per node, so that nothing in the project relies on one range per node.
_TOKENS_PER_NODE = 16
_JAVA = "17"
_JAVA_OPTIONS = Path(__file__).with_name("java17.options")
_LOGBACK = Path(__file__).with_name("logback.xml")


@functools.cache
def java() -> str:
    """The Java that runs Cassandra: from ``$JAVA_HOME``, or the first on the path.

    Raises:
        CassandraUnavailable: there is none, or Cassandra 5 does not run on its version.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise CassandraUnavailable(f"Java is not installed: Cassandra runs on Java {_JAVA}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or version[1] != _JAVA:
        raise CassandraUnavailable(
            f"Cassandra runs on Java {_JAVA}, but this is {version[1] if version else 'another version'}"
        )
    return found


def marker(folder: Path) -> str:
    """The argument that identifies a node's process."""
    return f"-Dembedshift.node={folder}"


def command(spec: ClusterSpec, folder: Path, jars: Path) -> list[str]:
    """The command line of a node whose files are in ``folder``."""
    properties = {
        "cassandra-foreground": "yes",
        "cassandra.config": (folder / "cassandra.yaml").as_uri(),
        "cassandra.storagedir": str(folder / "storage"),
        # Tokens are given and no data moves, so there is no need to wait for the gossip of other nodes.
        "cassandra.ring_delay_ms": "100",
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.shutdown_announce_in_ms": "0",
        "cassandra.superuser_setup_delay_ms": "0",
        # On every node: a login, and the check whether all know each other, need all replicas or a quorum.
        "cassandra.system_auth.default_rf": str(spec.nodes),
        "cassandra.system_distributed.default_rf": str(spec.nodes),
        # Without it an SAI vector index does not accept maximum_node_connections and construction_beam_width.
        "cassandra.sai.vector.allow_custom_parameters": "true",
        "io.netty.tryReflectionSetAccessible": "true",
        # Native libraries are unpacked here; otherwise they would stay in the machine's folder after a kill.
        "java.io.tmpdir": str(folder / "tmp"),
        "jna.tmpdir": str(folder / "tmp"),
        "java.net.preferIPv4Stack": "true",
        "jdk.attach.allowAttachSelf": "true",
        "logback.configurationFile": str(_LOGBACK),
    }
    if spec.use != "measured":
        properties |= {"cassandra.skip_sync": "true"}
    if spec.use == "once":
        properties |= {
            "cassandra.test.flush_local_schema_changes": "false",
            "cassandra.unsafesystem": "true",
            # A hundred beans for each table, which nobody looks at, are a fifth of what making a table costs.
            "org.apache.cassandra.disable_mbean_registration": "true",
        }
    return [
        java(),
        marker(folder),
        f"@{_JAVA_OPTIONS}",
        *(f"-D{key}={value}" for key, value in properties.items()),
        f"-Xms{spec.heap}",
        f"-Xmx{spec.heap}",
        "-XX:+UseSerialGC",  # on two cores and small heaps: fewer threads, less memory, a quicker start
        # The second compiler takes two fifths of the cost of a start, and pays off only after minutes.
        *([] if spec.use == "measured" else ["-XX:TieredStopAtLevel=1"]),
        "-XX:+PerfDisableSharedMem",
        "-XX:+ExitOnOutOfMemoryError",
        "-cp",
        f"{jars}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def write_yaml(
    spec: ClusterSpec, number: int, folder: Path, data: Path, tls: TlsFiles | None, extra: Mapping[str, object]
) -> None:
    """Write cassandra.yaml of node ``number``; ``extra`` overrides it, and None removes a key."""
    settings = _plain(spec, number, data)
    if spec.auth:
        settings |= _login()
    if tls:
        settings |= _encryption(tls)
    settings |= extra
    kept = {key: value for key, value in settings.items() if value is not None}
    (folder / "cassandra.yaml").write_text(json.dumps(kept, indent=2) + "\n")


def _plain(spec: ClusterSpec, number: int, data: Path) -> dict[str, object]:
    host = spec.hosts[number]
    # By default each table in use holds a megabyte at least: too much where thousands stay.
    memtables = {"memtable_allocation_type": "unslabbed_heap_buffers"} if spec.use == "once" else {}
    seeds = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider"}
    return {
        "cluster_name": "embedshift",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "num_tokens": _TOKENS_PER_NODE,
        # Given tokens and no bootstrap: nodes of a new cluster start all at once; otherwise each would wait for the one
        # before it. As seeds of each other they can also start again in any order.
        "initial_token": ",".join(map(str, _tokens(spec.nodes, number))),
        "auto_bootstrap": False,
        "seed_provider": [{**seeds, "parameters": [{"seeds": ",".join(spec.hosts)}]}],
        "endpoint_snitch": "SimpleSnitch",
        "listen_address": host,
        "rpc_address": host,
        "native_transport_port": spec.port,
        "storage_port": spec.storage_port,
        "data_file_directories": [str(data)],
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        "auto_snapshot": False,
        "hinted_handoff_enabled": True,
        "materialized_views_enabled": False,
        "user_defined_functions_enabled": False,
        **memtables,
    }


def _login() -> dict[str, object]:
    return {
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "role_manager": "CassandraRoleManager",
    }


def _encryption(tls: TlsFiles) -> dict[str, object]:
    return {
        "client_encryption_options": {
            "enabled": True,
            "optional": False,
            "require_client_auth": True,
            "ssl_context_factory": {"class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"},
            "keystore": str(tls.server),
            "truststore": str(tls.ca),
        }
    }


def _tokens(nodes: int, number: int) -> list[int]:
    """Tokens of node ``number``: the ring in even steps, dealt out in turn."""
    count = nodes * _TOKENS_PER_NODE
    step = 2**64 // count
    return [-(2**63) + step // 2 + step * place for place in range(number, count, nodes)]
