"""SELECT and the statements of the schema, read as far as the stand-in must."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.scylla.cql import Parser
from tests.scylla.statements import Change, Misunderstood, Select
from tests.scylla.tokens import END, Token, tokens_of, unquoted, without_row_ttl

#: Properties that Cassandra does not have, or means otherwise.
_FOREIGN = frozenset({"cdc", "tablets", "tombstone_gc", "paxos_grace_seconds", "synchronous_updates"})


@dataclass(frozen=True)
class Definition:
    """A statement that changes the schema.

    ``forward`` is what of it Cassandra understands, empty if nothing; ``properties`` are the maps after WITH.
    """

    what: str
    keyspace: str
    name: str
    lenient: bool
    forward: str
    properties: Mapping[str, Mapping[str, str]]
    table: str = ""
    column: str = ""
    partition: tuple[str, ...] = ()
    filtering: tuple[str, ...] = ()
    index_class: str = ""
    #: The columns that CREATE TABLE makes the row TTL.
    row_ttl: tuple[str, ...] = ()
    #: Whether it is ALTER TABLE … TTL, with the column or, for NULL, none.
    alters_row_ttl: bool = False


@dataclass(frozen=True)
class Statement:
    """A statement, and whichever of the parts it is."""

    text: str
    keyspace: str
    changes: list[Change] = field(default_factory=list)
    select: Select | None = None
    definition: Definition | None = None
    #: The table that DESC TABLE asks for.
    described: tuple[str, str] | None = None


def parsed(text: str, keyspace: str) -> Statement:
    """Read a statement. Raises Misunderstood for a form of the schema's statements that the stand-in does not know."""
    parser = Parser(text, keyspace)
    statement = Statement(parser.text, keyspace)
    word = parser.peek().word
    if word == "SELECT":
        return replace(statement, select=_select(parser))
    if word in ("CREATE", "ALTER", "DROP"):
        rest, row_ttl = without_row_ttl(parser.text)
        definition = _definition(Parser(rest, keyspace) if row_ttl else parser)
        if definition is not None and row_ttl:
            definition = replace(definition, row_ttl=tuple(unquoted(tokens_of(name)[0]) for name in row_ttl))
        return replace(statement, definition=definition)
    if parser.accept("DESC", "TABLE") or parser.accept("DESCRIBE", "TABLE"):
        return replace(statement, described=parser.qualified())
    return replace(statement, changes=parser.changes())


def _select(parser: Parser) -> Select:
    parser.expect("SELECT")
    start, depth = parser.at, 0
    while (token := parser.peek()) is not END and not (depth == 0 and token.word == "FROM"):
        depth += (token.text == "(") - (token.text == ")")
        parser.at += 1
    columns = (parser.tokens[start].start, parser.tokens[parser.at - 1].end)
    front = parser.markers_before(parser.at)
    parser.expect("FROM")
    first = parser.at
    keyspace, table = parser.qualified()
    source = (parser.tokens[first].start, parser.tokens[parser.at - 1].end)
    found = Select(keyspace, table, columns, source, front)
    while parser.peek() is not END:
        if parser.accept("WHERE"):
            found = replace(found, filtered=True, **_where(parser))
        elif parser.accept("ORDER", "BY"):
            column = parser.name()
            if parser.accept("ANN", "OF"):
                found = replace(found, ann_column=column, ann_vector=parser.term())
        elif parser.accept("LIMIT"):
            found = replace(found, limit=parser.term())
        else:
            parser.at += 1
    return found


def _where(parser: Parser) -> dict[str, Any]:
    """The conditions, if they are understood: those of a scan by tokens need not be."""
    first = parser.at
    try:
        where = parser.conditions()
    except Misunderstood:
        parser.at = first
        return {}
    return {"where": where, "span": (parser.tokens[first].start, parser.tokens[parser.at - 1].end)}


def _definition(parser: Parser) -> Definition | None:
    verb = parser.take().word
    custom = parser.accept("CUSTOM")
    kind = {"SCHEMA": "KEYSPACE", "COLUMNFAMILY": "TABLE"}.get(parser.peek().word, parser.take().word)
    if kind not in ("KEYSPACE", "TABLE", "INDEX"):
        return None
    lenient = parser.accept("IF", "NOT", "EXISTS") or parser.accept("IF", "EXISTS")
    if kind == "KEYSPACE":
        keyspace, name = "", parser.name()
    elif verb == "CREATE" and kind == "INDEX" and parser.peek().word == "ON":
        keyspace, name = "", ""
    else:
        keyspace, name = parser.qualified()
    found = Definition(f"{verb} {kind}", keyspace, name, lenient, "", {})
    if found.what == "CREATE INDEX":
        found = _index(parser, found, custom)
    if found.what == "ALTER TABLE" and parser.accept("TTL"):
        named = () if parser.accept("NULL") else (parser.name(),)
        return replace(found, row_ttl=named, alters_row_ttl=True)
    properties, forward = _properties(parser)
    return replace(found, properties=properties, forward=forward)


def _index(parser: Parser, found: Definition, custom: bool) -> Definition:
    """The table, the columns and the class of an index: ``(v)``, ``(v, f)`` or ``((p), v, f)``."""
    parser.expect("ON")
    keyspace, table = parser.qualified()
    found = replace(found, keyspace=keyspace, table=table)
    if not custom:
        return found
    parser.expect("(")
    partition = parser.names() if parser.peek().text == "(" else []
    if partition:
        parser.expect(",")
    columns = [parser.name()]
    while parser.accept(","):
        columns.append(parser.name())
    parser.expect(")")
    parser.expect("USING")
    return replace(
        found,
        column=columns[0],
        filtering=tuple(columns[1:]),
        partition=tuple(partition),
        index_class=unquoted(parser.take()),
        name=found.name or f"{table}_{columns[0]}_idx",
    )


def _properties(parser: Parser) -> tuple[dict[str, dict[str, str]], str]:
    """The maps after WITH, and the statement's text without the properties that Cassandra lacks."""
    depth = 0
    while (token := parser.peek()) is not END and not (depth == 0 and token.word == "WITH"):
        depth += (token.text == "(") - (token.text == ")")
        parser.at += 1
    if token is END:
        return {}, parser.text
    start = parser.take().start
    parts: list[list[Token]] = [[]]
    for token in parser.tokens[parser.at :]:
        depth += (token.text in ("(", "{")) - (token.text in (")", "}"))
        if depth == 0 and token.word == "AND":
            parts.append([])
        else:
            parts[-1].append(token)
    maps, kept = {}, []
    for part in parts:
        name, text = part[0].word.lower(), parser.text[part[0].start : part[-1].end]
        if any(token.text == "{" for token in part):
            maps[name] = _map(part)
        if name == "replication":
            # A list of racks (SCYLLADB.md, "Names, options, shapes"); Cassandra knows their number alone.
            text = re.sub(r"\[([^\]]*)\]", lambda racks: f"'{len(racks[1].split(','))}'", text)
        if name not in _FOREIGN:
            kept.append(text)
    before = parser.text[:start].rstrip()
    if kept:
        return maps, f"{before} WITH {' AND '.join(kept)}"
    return maps, "" if before.upper().startswith("ALTER") else before


def _map(part: list[Token]) -> dict[str, str]:
    """The entries of a map literal, as text; lists in it are left out."""
    entries = {}
    for key, colon, value in zip(part, part[1:], part[2:], strict=False):
        if colon.text == ":" and value.text != "[":
            entries[unquoted(key)] = unquoted(value)
    return entries
