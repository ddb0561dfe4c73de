"""SQLite for rows and catalog, USearch for the index: a store without a server."""
