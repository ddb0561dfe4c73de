"""Watching a migration: its figures from the catalog, for a terminal, a page and Prometheus alike."""
