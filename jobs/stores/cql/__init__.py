"""ScyllaDB and Apache Cassandra through scylla-driver."""
