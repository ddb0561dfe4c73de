"""Labelled questions: JSON lines of ``{"id", "text", "relevant": {article id: grade}}``, and perhaps ``"where"``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedshift.embedding import DIGEST
from embedshift.errors import InputError
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type, from_json, to_json
from embedshift.stores.model import Index, Table

_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and a grade for each article: the greater the better, 0 for an article that does not answer it.

    ``where``: what the articles of the answer must have, by column, as JSON values.
    """

    id: str
    text: str
    relevant: Mapping[str, int]
    where: Mapping[str, Any] = field(default_factory=dict)


def read_questions(path: Path) -> list[Question]:
    """Read a file of labelled questions; blank lines are skipped.

    Raises:
        InputError: the file cannot be read, has no question, or has an invalid line; the line is named.
    """
    questions: dict[str, Question] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"cannot read the questions {path} ({error.strerror})", hint="name them in validation.questions"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            question = _question(json.loads(line.decode("utf-8-sig")))
        except (ValueError, RecursionError) as error:
            reason = "it is not JSON" if isinstance(error, (json.JSONDecodeError, RecursionError)) else str(error)
            raise InputError(f"{path}, line {number}: {reason}", hint="fix that line") from None
        if question.id in questions:
            raise InputError(f"{path}, line {number}: the id {question.id!r} was used before", hint="rename one")
        questions[question.id] = question
    if not questions:
        raise InputError(f"{path} contains no question", hint="write one JSON object per line: id, text, relevant")
    return list(questions.values())


def _question(tree: Any) -> Question:
    if not isinstance(tree, dict):
        raise ValueError("it is not a JSON object")
    id_, text, relevant = tree.get("id"), tree.get("text"), tree.get("relevant")
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    if not isinstance(id_, str) or not id_:
        raise ValueError("it has no id")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("it has no text")
    if not isinstance(relevant, dict):
        raise ValueError('it has no "relevant" with a grade for each article id')
    wrong = [article for article, grade in relevant.items() if type(grade) is not int or grade < 0]
    if wrong:
        raise ValueError(f"the grade of {wrong[0]!r} is not a whole number of 0 or more")
    if not any(relevant.values()):
        raise ValueError('no article in "relevant" has a grade above 0')
    where = tree.get("where", {})
    if not isinstance(where, dict) or any(value is None for value in where.values()):
        raise ValueError('its "where" is not an object with a value for each column')
    "".join([id_, text, *relevant]).encode()  # a lone surrogate is a ValueError
    return Question(id_, text, relevant, where)


def condition_of(question: Question, table: Table, index: Index) -> dict[str, Any]:
    """What the articles that answer a question must have, as the store takes it.

    Raises:
        InputError: the table has no such column, a value is not one of its column, or the index is local and the
            question does not say in which partition.
    """
    hint = 'mend "where" of that question'
    if missing := [name for name in index.partition if name not in question.where]:
        raise InputError(
            f"the question {question.id!r} does not say in which {missing[0]} to search",
            hint='the index is local: add "where" to the question',
        )
    found: dict[str, Any] = {}
    for name, value in question.where.items():
        column = table.column(name)
        if column is None or name in (index.column, DIGEST):
            raise InputError(f"the question {question.id!r}: {table.name} has no column {name} to search by", hint=hint)
        try:
            # As the column has it: a float of 32 bits is not the one that was given.
            found[name] = pa.scalar(from_json(column.type, value), arrow_type(column.type)).as_py()
        except InputError as error:
            raise InputError(f"the question {question.id!r}: {name}: {error.what}", hint=hint) from error
        except (pa.ArrowException, OverflowError) as error:
            raise InputError(f"the question {question.id!r}: {name} is not a {column.type}", hint=hint) from error
    return found


def known_articles(store: Store, table: Table, id_column: str, questions: Iterable[Question]) -> set[str] | None:
    """Which of the articles in questions a table has.

    Returns:
        Their ids; None if the id is not the whole primary key, because each would need a scan.
    """
    if [key.name for key in table.keys] != [id_column]:
        return None
    cql_type = table.keys[0].type
    named = {article for question in questions for article in question.relevant}
    values = [value for article in sorted(named) if (value := key_of(cql_type, article)) is not None]
    known: set[str] = set()
    for at in range(0, len(values), _KEYS_AT_ONCE):
        keys = pa.RecordBatch.from_pydict({id_column: pa.array(values[at : at + _KEYS_AT_ONCE], arrow_type(cql_type))})
        known |= {article_id(cql_type, each) for each in store.fetch(table, keys).column(id_column).to_pylist()}
    return known


def article_id(cql_type: str, value: Any) -> str:
    """An article's id, from its Arrow form to the form in questions."""
    return str(to_json(cql_type, value))


def key_of(cql_type: str, article: str) -> Any:
    """An article's id, from its form in questions to the Arrow form; None if no key of that type can be it."""
    whole = cql_type in ("int", "bigint", "smallint", "tinyint")
    try:
        return from_json(cql_type, int(article) if whole else article)
    except (InputError, ValueError):
        return None
