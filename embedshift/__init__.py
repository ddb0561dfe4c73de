"""embedshift: change the embedding model of a live vector search without losing anything.

What applications import is listed here, and is loaded when it is first used:

    from embedshift import Articles

    with Articles.open("my.yaml") as articles:
        articles.add({"id": "a1", "title": "Salt", "content": "It keeps bread."})
        found = articles.search("what keeps bread", k=3)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedshift.articles.bulk import Added, Failure
    from embedshift.articles.client import Articles
    from embedshift.articles.search import Match
    from embedshift.errors import EmbedshiftError

__version__ = "0.1.0"

__all__ = ["Added", "Articles", "EmbedshiftError", "Failure", "Match", "__version__"]

_HOMES = {
    "Added": "articles.bulk",
    "Articles": "articles.client",
    "EmbedshiftError": "errors",
    "Failure": "articles.bulk",
    "Match": "articles.search",
}


def __getattr__(name: str) -> Any:
    # Every import of a subpackage passes through here, so this must not load the client's libraries.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
