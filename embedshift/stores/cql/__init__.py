"""Clusters that speak CQL: ScyllaDB and Apache Cassandra 5, through scylla-driver."""
