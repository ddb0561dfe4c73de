"""CQL as tokens, and what ScyllaDB's grammar has beyond Cassandra's: taken out, or refused."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.scylla.words import RESERVED, SYNTAX, Refused, invalid, reserved

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^']|'')*'|\$\$.*?\$\$)
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<number>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d+\.?\d*[eE][+-]?\d+|\d[\w.µ]*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<marker>\?)
  | (?P<sign>[<>!+-]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)

#: The first version that tells the write time of a field of a user type (SCYLLADB.md, "Names, options, shapes").
_FIELD_TIMES_SINCE = (2026, 2)


class Token(NamedTuple):
    """A piece of a statement; ``word`` is an unquoted word in capitals, else empty."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind == "word" else ""


END = Token("end", "", -1, -1)


def tokens_of(text: str) -> list[Token]:
    found = (Token(str(each.lastgroup), each[0], each.start(), each.end()) for each in _TOKEN.finditer(text))
    return [token for token in found if token.kind != "space"]


def unquoted(token: Token) -> str:
    """The name that a token is, or the text of a string."""
    if token.kind == "quoted":
        return token.text[1:-1].replace('""', '"')
    if token.kind == "string":
        return token.text[1:-1].replace("''", "'") if token.text[0] == "'" else token.text[2:-2]
    return token.text.lower()


def refuse_reserved(text: str) -> None:
    """Refuse a reserved word where a name stands (SCYLLADB.md, "Names, options, shapes").

    Raises:
        Refused: there is one.
    """
    tokens = tokens_of(text)
    if not tokens or tokens[0].word in ("GRANT", "REVOKE", "LIST"):
        return
    for token, after in zip(tokens, [*tokens[1:], END], strict=True):
        if token.word.lower() not in RESERVED:
            continue
        keyword = (token.word == "ANN" and after.word == "OF") or (
            token.word == "CONCURRENCY" and after.kind in ("number", "marker")
        )
        if not keyword:
            raise reserved(token.text, token.start)


def refuse_times(text: str, since: tuple[int, ...]) -> None:
    """Refuse write times that a version does not tell: of a whole collection, which none tells, and of a field.

    Raises:
        Refused: it asks for one.
    """
    tokens = tokens_of(text)
    for at, token in enumerate(tokens):
        if token.word == "MAXWRITETIME" and tokens[at + 1 : at + 2] and tokens[at + 1].text == "(":
            raise invalid("Unknown function 'maxwritetime'")
        signs = [each.text for each in tokens[at + 1 : at + 4]]
        if token.word in ("WRITETIME", "TTL") and signs[:1] + signs[2:] == ["(", "."] and since < _FIELD_TIMES_SINCE:
            raise Refused(SYNTAX, f"line 1:{token.start} no viable alternative at input '.'")


def without_extensions(text: str) -> str:
    """The statement without BYPASS CACHE and USING TIMEOUT, which Cassandra does not know."""
    tokens = tokens_of(text)
    cut: list[tuple[int, int]] = []
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else END
        value, after, *_ = *tokens[at + 1 : at + 3], END, END
        if token.word == "BYPASS" and value.word == "CACHE":
            cut.append((token.start, value.end))
        elif token.word == "TIMEOUT" and before.word in ("USING", "AND") and value.kind == "number":
            if before.word == "AND":
                cut.append((before.start, value.end))
            elif after.word == "AND":
                cut.append((token.start, after.end))
            else:
                cut.append((before.start, value.end))
    for start, end in reversed(cut):
        text = text[:start] + text[end:]
    return text


def without_row_ttl(text: str) -> tuple[str, tuple[str, ...]]:
    """A CREATE TABLE without the word TTL after columns, and the columns that have it, as they are written."""
    tokens = tokens_of(text)
    depth, start = 0, 0
    named: list[str] = []
    cuts: list[tuple[int, int]] = []
    for at, token in enumerate(tokens):
        if token.text in ("(", ")"):
            depth += 1 if token.text == "(" else -1
            start = at + 1 if depth == 1 and token.text == "(" else start
        elif token.text == "," and depth == 1 and not _in_type(tokens[start:at]):
            start = at + 1
        elif token.word == "TTL" and depth == 1 and at >= start + 2:
            named.append(tokens[start].text)
            cuts.append((tokens[at - 1].end, token.end))
        elif depth == 0 and token.word == "WITH":
            break
    for begin, end in reversed(cuts):
        text = text[:begin] + text[end:]
    return text, tuple(named)


def _in_type(tokens: list[Token]) -> bool:
    """Whether a comma after these tokens is one of a type."""
    texts = [token.text for token in tokens]
    return texts.count("<") > texts.count(">")
