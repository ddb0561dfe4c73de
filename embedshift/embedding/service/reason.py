"""What a service says of a fault, without the texts that were sent, and without the key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

#: A run of so many characters of a text in a message counts as a part of that text.
_RUN = 8
_MESSAGE_MAX = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def code_of(body: bytes) -> str:
    """The code or type of an error in OpenAI's protocol, such as ``insufficient_quota``; empty if it has none."""
    found = _error(body)
    for name in ("code", "type", "error_type"):
        value = found.get(name)
        if isinstance(value, str) and _NAME.fullmatch(value):
            return value
    return ""


def reason_of(status: int, body: bytes, sent: Iterable[str], secret: str) -> str:
    """One line for people: the status, and what the service says if no part of what was sent is in it.

    Args:
        sent: the texts of the request.
        secret: the key; empty if there is none.
    """
    status_line = f"HTTP {status}"
    for said in (_message(body), code_of(body)):
        line = " ".join("".join(each if each.isprintable() else " " for each in said).split())
        if line and not _repeats(line, sent, secret):
            return f"{status_line}: {line[:_MESSAGE_MAX]}"
    return status_line


def _error(body: bytes) -> dict[str, object]:
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = tree.get("error", tree) if isinstance(tree, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def _message(body: bytes) -> str:
    found = _error(body)
    for name in ("message", "detail", "error"):
        if isinstance(value := found.get(name), str):
            return value
    return ""


def _repeats(message: str, sent: Iterable[str], secret: str) -> bool:
    """Whether a message repeats something that was sent. Better to say too little than a part of an article."""
    folded = message.casefold()
    runs = {folded[at : at + _RUN] for at in range(max(1, len(folded) - _RUN + 1))}
    if secret and (secret.casefold() in folded or any(run in secret.casefold() for run in runs)):
        return True
    return any(run in text for text in map(str.casefold, sent) for run in runs)
