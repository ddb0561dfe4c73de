"""Kinds of values that settings have, and the base of their parts."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """``"90s"``, ``"1h"``, ``"30d"``, ``"500ms"`` or seconds as a number, as a timedelta."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=float(value))
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", str(value))
    if not match:
        raise ValueError(f"{value!r} is not a duration; write a number with ms, s, m, h or d, such as 90s or 24h")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """The shortest exact text of a duration: ``90s``, ``1h``, ``24h``, ``500ms``."""
    for unit in ("d", "h", "m", "s", "ms"):
        whole = timedelta(seconds=_UNITS[unit])
        if value and not value % whole:
            return f"{value // whole}{unit}"
    return f"{value / timedelta(milliseconds=1):.3f}ms" if value else "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str | float),
    PlainSerializer(format_duration, return_type=str),
]
TableName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_]{0,47}$")]
AliasName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_.-]{0,99}$")]


class Frozen(BaseModel):
    """A part of the settings: immutable, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
