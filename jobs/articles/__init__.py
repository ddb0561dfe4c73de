"""What an application does with articles: search, insert, update, delete through the alias.

from jobs.articles import Articles

with Articles.open("settings.yaml") as articles:
    articles.add({"id": "a1", "title": "Salt", "content": "It keeps bread."})
    found = articles.search("what keeps bread", k=3)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.articles.adding import Added, Failure
    from jobs.articles.client import Articles
    from jobs.articles.finding import Match

__all__ = ["Added", "Articles", "Failure", "Match"]

_HOMES = {"Added": "adding", "Articles": "client", "Failure": "adding", "Match": "finding"}


def __getattr__(name: str) -> Any:
    # The steps import rooms below this one's client; they need not load it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"jobs.articles.{_HOMES[name]}"), name)
