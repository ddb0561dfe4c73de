"""The client library: search, insert, update and delete articles through the alias."""
