"""embedshift: change the embedding model under a live vector search, and lose nothing."""

__version__ = "0.1.0"
