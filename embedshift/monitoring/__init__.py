"""Watch a migration: figures from the catalog for a terminal, a web page and Prometheus."""
