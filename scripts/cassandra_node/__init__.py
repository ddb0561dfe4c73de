"""Run real Apache Cassandra nodes on the loopback addresses, from jars that Maven fetches.

Only the standard library is used, so that a node starts before the project's own packages are installed.
The driver's package is called ``cassandra`` too: import this one as ``scripts.cassandra_node`` (or
``scripts.run_cassandra``) from the root of the repository.

    cluster    CassandraCluster: start, stop, wait until all nodes know each other
    node       CassandraNode: one process: kill, suspend, resume, restart
    spec       the properties of a cluster, and the file that records them
    server     the command line of the JVM and cassandra.yaml
    jars       the jars, fetched once into a cache
    tls        a certificate authority, the servers' and a client's certificate
    probe      enough of the CQL protocol to ask whether a node is ready
    processes  processes, identified by more than their number
    watch      ends a node when the program that started it has ended
    waiting    conditions with a deadline, free ports
"""

from scripts.cassandra_node.cluster import CassandraCluster
from scripts.cassandra_node.errors import CassandraFailed, CassandraUnavailable
from scripts.cassandra_node.jars import VERSION
from scripts.cassandra_node.node import CassandraNode
from scripts.cassandra_node.tls import TlsFiles

__all__ = ["VERSION", "CassandraCluster", "CassandraFailed", "CassandraNode", "CassandraUnavailable", "TlsFiles"]
