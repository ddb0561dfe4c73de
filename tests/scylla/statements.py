"""The parts of CQL statements that the stand-in looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class Misunderstood(Exception):
    """The stand-in's parser does not know this form."""


@dataclass(frozen=True)
class Term:
    """A value in a statement: its text, and which of the statement's bind markers are in it."""

    text: str
    markers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Condition:
    """A comparison in WHERE; ``IN`` has several terms."""

    column: str
    sign: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Change:
    """One INSERT, UPDATE or DELETE.

    ``parts`` says whether a DELETE is of columns or elements, not of rows; ``trouble`` what was not understood.
    """

    verb: str
    keyspace: str
    table: str
    sets: Mapping[str, Term] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    parts: bool = False
    where: tuple[Condition, ...] = ()
    timestamp: Term | None = None
    ttl: Term | None = None
    conditional: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Select:
    """A SELECT: where its columns and its table stand in the text, and its ANN ordering if it has one.

    ``where`` and ``span``: its conditions and where they stand, as far as they are understood.
    """

    keyspace: str
    table: str
    columns: tuple[int, int]
    source: tuple[int, int]
    front_markers: int
    where: tuple[Condition, ...] = ()
    span: tuple[int, int] = (0, 0)
    filtered: bool = False
    ann_column: str = ""
    ann_vector: Term | None = None
    limit: Term | None = None
