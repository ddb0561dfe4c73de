"""Import articles from a file into the live table, embedded with the live table's model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedshift.articles.files import read_archive
from embedshift.catalog.alias import create_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.vector_table import VectorTable, record_of
from embedshift.embedding import DIGEST, Model, Template, digest_texts, load_model
from embedshift.errors import InputError
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type, from_json, vector_type
from embedshift.stores.model import Column, Table, write_time
from embedshift.times import now_us

#: Articles embedded and written at once.
_BATCH = 512
#: How many lines are read to find the columns of a table that does not exist yet.
_LOOK = 1000


@dataclass(slots=True)
class Imported:
    """What an import did. ``faults`` are the lines that were left out: the line's number and the reason.

    ``unknown`` are columns of the file that the table does not have.
    """

    rows: int = 0
    without_text: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


def import_articles(settings: Settings, store: Store, path: Path, *, add_columns: bool = False) -> Imported:
    """Write the articles of a JSONL or Parquet file into the source table; the table is created if it does not exist.

    A line that cannot be used is left out and reported; the others are imported. Importing again replaces articles.

    Args:
        add_columns: add the columns of the file that the table lacks; the first value of each decides its type.

    Raises:
        InputError: the file cannot be read, or contains no article.
    """
    ensure_catalog(store)
    imported = Imported()
    model = load_model(settings.source.model)
    record_of(model, store)
    if not store.exists(settings.source.table):
        store.create(_table_of(settings, path, model.dimension))
    table = store.describe(settings.source.table)
    if add_columns:
        for name, kind in _types(settings, path).items():
            if table.column(name) is None:
                store.add_column(table.name, Column(name, kind))
        table = store.describe(table.name)
    vector_table = live_vector_table(settings, store, table)
    articles = _articles(path, table, vector_table, imported)
    batch: list[tuple[int, Mapping[str, Any]]] = []
    for article in articles:
        batch.append(article)
        if len(batch) == _BATCH:
            _write(store, table, vector_table, model, batch, imported)
            batch = []
    _write(store, table, vector_table, model, batch, imported)
    store.create_index(vector_table.index)
    create_alias(store, settings.alias, vector_table)
    return imported


def _articles_of(path: Path) -> Iterator[tuple[int, dict[str, Any] | InputError]]:
    """The articles of a JSONL or Parquet file with their numbers, or the error of each line that is not one."""
    if path.suffix.lower() == ".parquet":
        yield from enumerate(read_archive(path), 1)
        return
    for number, line in _lines(path):
        try:
            yield number, _parse(line)
        except InputError as error:
            yield number, error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})", hint="name a JSONL or Parquet file") from error


def _parse(line: bytes) -> dict[str, Any]:
    try:
        article = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON ({error.msg} at character {error.pos + 1})") from error
    except RecursionError as error:
        raise InputError("is nested too deeply") from error
    if not isinstance(article, dict):
        raise InputError("is not a JSON object")
    return article


def _articles(
    path: Path, table: Table, vector_table: VectorTable, imported: Imported
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    seen: dict[Any, int] = {}
    columns = {column.name: column for column in table.columns if column.name not in (vector_table.vector, DIGEST)}
    for number, parsed in _articles_of(path):
        try:
            if isinstance(parsed, InputError):
                raise parsed
            imported.unknown.update(name for name in parsed if name not in columns)
            article = _row(parsed, columns, table)
            key = tuple(article[column.name] for column in table.keys)
            if key in seen:
                raise InputError(f"has the same id as line {seen[key]}; the first is kept")
        except InputError as error:
            imported.faults.append((number, str(error)))
            continue
        seen[key] = number
        yield number, article


def _row(article: Mapping[str, Any], columns: Mapping[str, Column], table: Table) -> dict[str, Any]:
    unknown = [name for name in article if name not in columns]
    if unknown:
        raise InputError(f"has {unknown[0]}, which {table.name} does not have")
    row = {}
    for name, column in columns.items():
        try:
            row[name] = from_json(column.type, article.get(name))
        except InputError as error:
            raise InputError(f"has a wrong {name}: {error}") from error
    for key in table.keys:
        if row[key.name] is None or row[key.name] == "":
            raise InputError(f"has no {key.name}")
    return row


def _write(
    store: Store,
    table: Table,
    vector_table: VectorTable,
    model: Model,
    batch: Sequence[tuple[int, Mapping[str, Any]]],
    imported: Imported,
) -> None:
    if not batch:
        return
    made = (vector_table.vector, DIGEST)
    columns = [column for column in table.columns if column.name not in made]
    rows = pa.RecordBatch.from_pydict(
        {c.name: pa.array([article[c.name] for _, article in batch], arrow_type(c.type)) for c in columns}
    )
    template = Template.parse(vector_table.text)
    texts, empty = template.render(rows), template.empty(rows)
    embedded = model.embed(texts.to_pylist())
    blank = np.array(empty.to_pylist(), bool)
    faulty = {row: reason for row, reason in embedded.faults.items() if not blank[row]}
    flat = pa.array(embedded.vectors.reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, model.dimension, mask=pa.array(blank))
    arrays = {name: rows.column(name) for name in rows.schema.names} | {vector_table.vector: vectors}
    if vector_table.digests:
        arrays[DIGEST] = digest_texts(model.fingerprint, texts, empty)
    now = now_us()
    for column in table.others:
        if column.name in arrays:
            present = arrays[column.name].is_valid()
            arrays[write_time(column.name)] = pa.array(np.full(len(batch), now), mask=~present.to_numpy(False))
    cells = pa.RecordBatch.from_pydict(arrays)
    taken = np.array([row for row in range(len(batch)) if row not in faulty], np.int64)
    rejected = {int(taken[each.row]): each.reason for each in store.write(table, cells.take(pa.array(taken)))}
    imported.faults += [(batch[row][0], reason) for row, reason in sorted((faulty | rejected).items())]
    imported.rows += len(batch) - len(faulty) - len(rejected)
    imported.without_text += int(blank.sum())


def _types(settings: Settings, path: Path) -> dict[str, str]:
    """The columns of a file's articles, each with the type of its first value."""
    types: dict[str, str] = {}
    uuids = True
    for number, article in _articles_of(path):
        if number > _LOOK:
            break
        if isinstance(article, InputError):
            continue
        uuids = uuids and _is_uuid(article.get(settings.source.id))
        for name, value in article.items():
            if value is not None and name.isidentifier():
                types.setdefault(name, _type_of(value))
    if settings.source.id not in types:
        raise InputError(f"{path} contains no article with {settings.source.id}", hint="each line is a JSON object")
    types[settings.source.id] = "uuid" if uuids else "text"
    return types


def _table_of(settings: Settings, path: Path, dimension: int) -> Table:
    """A table for the articles of a file: an id, and every other column with the type of its first value."""
    types = _types(settings, path)
    for name in Template.parse(settings.source.text).columns:
        types.setdefault(name, "text")
    key = Column(settings.source.id, types.pop(settings.source.id), "partition")
    made = (Column(settings.source.vector, vector_type(dimension)), Column(DIGEST, "blob"))
    return Table(settings.source.table, (key, *(Column(name, kind) for name, kind in types.items()), *made))


def _is_uuid(value: Any) -> bool:
    try:
        from_json("uuid", value)
    except InputError:
        return False
    return isinstance(value, str)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint"
    return "double" if isinstance(value, float) else "text"
