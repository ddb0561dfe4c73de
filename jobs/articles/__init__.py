"""What an application does with articles: search, insert, update, delete through the alias.

from jobs.articles import Articles

with Articles.open("settings.yaml") as articles:
    articles.add({"id": "a1", "title": "Salt", "content": "It keeps bread."})
    found = articles.search("what keeps bread", k=3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.articles.client import Added, Articles, Failure
    from jobs.articles.finding import Match

__all__ = ["Added", "Articles", "Failure", "Match"]


def __getattr__(name: str) -> Any:
    # The steps import rooms below this one's client; they need not load it.
    if name == "Match":
        from jobs.articles import finding

        return finding.Match
    if name in __all__:
        from jobs.articles import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
