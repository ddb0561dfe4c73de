"""Spark: the session, the data source that reads and writes token ranges, the embedding stage."""
