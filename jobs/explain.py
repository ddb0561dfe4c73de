"""A settings file explained: every key, its value, whether it is a default, and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from jobs.settings import Settings


def explain(settings: Settings) -> list[str]:
    """One line a key, as ``key.path = value  (default)  what it means``."""
    return list(_lines(settings, ""))


def _lines(part: BaseModel, path: str) -> Iterator[str]:
    plain: dict[str, Any] = part.model_dump(mode="json")
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _lines(value, f"{path}{name}.")
            continue
        mark = "" if name in part.model_fields_set else "  (default)"
        yield f"{path}{name} = {plain[name]}{mark}  # {field.description}"
