"""What a service says of a fault, as far as it can contain nothing of what was sent: neither a text nor the key.

A service may repeat a text in any form: cut, escaped, encoded. So its words are shown only if every one of them is a
word that services use for such faults, or a number that is not in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_MESSAGE_MAX = 200
_WORD = re.compile(r"[a-z]+|\d+")
#: Digits of a number that may be shown: of tokens, of a limit.
_DIGITS_MAX = 7
#: The words of such messages and codes, of the servers that were read for this.
_KNOWN_LINES = (
    "a above access account active all allowed an and api are argument array at authentication authorization",
    "available bad balance base batch be because below between billing body but by can cannot capacity characters",
    "check client code content context contains could current currently denied deployment detail dimension",
    "dimensions disabled does due each element elements embed embedding embeddings empty encoding endpoint engine",
    "equal error exceed exceeded exceeds expected expired fewer field fields for forbidden format found from",
    "greater has have header help however i if in input inputs insufficient integer internal invalid is it item",
    "items its key large larger least length less limit limits list long longer many maximum may message method",
    "minimum missing model models more most must need needs no not number object of on one only or order",
    "organization out over parameter payload per permission plan please policy positive prompt provided quota",
    "range rate reached received reduce refused region request requested requests required resource resulted",
    "retry s same scope seconds server service short shorter single size sizes some string such support supported",
    "t temporarily text texts than that the their then there these this to token tokens too total try type unable",
    "unauthorized under unknown unprocessable unsupported up upgrade usage use user validation value values",
    "version was wait were when which while will with without wrong you your",
)
_KNOWN = frozenset(" ".join(_KNOWN_LINES).split())


def code_of(body: bytes) -> str:
    """The code or type of an error in OpenAI's protocol, such as ``insufficient_quota``; empty if it has none."""
    found = _error(body)
    for name in ("code", "type", "error_type"):
        value = found.get(name)
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", value):
            return value
    return ""


def reason_of(status: int, body: bytes, sent: Iterable[str]) -> str:
    """One line for people: the status, and what the service says, if all of its words are known ones.

    Args:
        sent: the texts of the request.
    """
    numbers = {number for text in sent for number in re.findall(r"\d+", text)}
    for said in (_message(body), code_of(body)):
        line = " ".join(said.split())
        if line and len(line) <= _MESSAGE_MAX and _is_harmless(line, numbers):
            return f"HTTP {status}: {line}"
    return f"HTTP {status}"


def _is_harmless(line: str, numbers: set[str]) -> bool:
    if not line.isascii() or not line.isprintable() or "\\" in line:
        return False
    return all(
        word in _KNOWN if word.isalpha() else len(word) <= _DIGITS_MAX and word not in numbers
        for word in _WORD.findall(line.lower())
    )


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
