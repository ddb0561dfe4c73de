"""The options that commands share, and how values of them are read."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import UsageError
from jobs.settings import parse_duration

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="EMBEDSHIFT_CONFIG", metavar="FILE", help="The settings file (YAML).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override one setting; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; lines for people go to standard error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def parse_share(text: str) -> float:
    """``10%`` or ``0.1`` as a share above 0, up to 1. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise UsageError(f"{text} is no share", hint="write 10%, or 0.1")
    return share


def parse_span(text: str) -> timedelta:
    """``90s``, ``2h`` or ``30d``. Raises UsageError."""
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
    assert isinstance(span, timedelta)
    return span
