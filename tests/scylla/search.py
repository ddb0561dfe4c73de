"""``SELECT … ORDER BY column ANN OF vector LIMIT k``: keys from the vector store, rows from the base table."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import math
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from cassandra import cqltypes

from tests.scylla import frames, metadata, words
from tests.scylla.backend import Backend, refusal
from tests.scylla.catalog import Catalog, Table, quoted
from tests.scylla.frames import Frame, Params, Value
from tests.scylla.indexing import VectorIndex
from tests.scylla.logged import number
from tests.scylla.statements import Condition, Select, Term
from tests.scylla.vector_store import as_json

_MARSHALLED = {
    "text": "UTF8Type",
    "int": "Int32Type",
    "bigint": "LongType",
    "boolean": "BooleanType",
    "uuid": "UUIDType",
}
_PLAIN = frozenset({"int", "bigint", "smallint", "tinyint", "varint", "boolean", "uuid", "timeuuid", "blob"})


class Search:
    """ANN queries.

    Args:
        catalog: the schema.
        indexes: the vector indexes, by keyspace and name, oldest first.
        timeout_s: how long the vector store may take.
    """

    def __init__(self, catalog: Catalog, indexes: Mapping[tuple[str, str], VectorIndex], timeout_s: float) -> None:
        #: Where the vector store is; empty if its name cannot be resolved.
        self.address = ""
        self._catalog, self._indexes, self._timeout_s = catalog, indexes, timeout_s

    async def prepared(self, text: str, select: Select, backend: Backend) -> tuple[bytes, Frame]:
        """The id and the answer to PREPARE."""
        table, _ = await self._found(select)
        said = await self._described(text, select, table, backend)
        dimension = int(re.findall(r"\d+", table.types[select.ann_column])[-1])
        markers = list(said.markers) + await self._marked(text, select, table, backend)
        if select.ann_vector is not None and select.ann_vector.markers:
            markers.append(metadata.vector(select.ann_column, dimension))
        if select.limit is not None and select.limit.markers:
            markers.append(metadata.integer("[limit]"))
        id_ = hashlib.md5(f"ann {select.keyspace} {text}".encode(), usedforsecurity=False).digest()
        described = metadata.Statement(id_, tuple(markers), said.result)
        return id_, frames.answer(frames.RESULT, described.packed(table.keyspace, table.name))

    async def run(self, text: str, select: Select, params: Params, backend: Backend) -> Frame:
        """The rows that are nearest; a key whose row is gone is left out (SCYLLADB.md, first table)."""
        table, index = await self._found(select)
        limit = number(select.limit, params.values)
        if limit is None:
            raise words.limit_missing()
        if limit > words.LIMIT_MAX:
            raise words.limit_too_high(limit)
        said = await self._described(text, select, table, backend)
        assert select.ann_vector is not None
        wanted = math.ceil(limit * float(index.options.get("oversampling", "1")))
        payload: dict[str, Any] = {"vector": _vector(select.ann_vector, params.values), "limit": wanted}
        if select.where:
            payload["filter"] = {each.column: _filter(each, table, params.values) for each in select.where}
        found = await asyncio.to_thread(self._ask, index, payload)
        keys = list(zip(*(found["primary_keys"][name] for name in table.keys), strict=True))[:limit]
        start, end = select.columns
        front = params.values[: select.front_markers]
        reads = []
        for key in keys:
            where = " AND ".join(
                f"{quoted(name)} = {_literal(table.types[name], value)}"
                for name, value in zip(table.keys, key, strict=True)
            )
            read = f"SELECT {text[start:end]} FROM {table.path} WHERE {where}"
            reads.append(backend.ask(frames.QUERY, frames.query(read, Params(params.consistency, front))))
        answers = await asyncio.gather(*reads)
        failed = [each for each in answers if each.opcode == frames.ERROR]
        if failed:
            return failed[0]
        rows = metadata.rows(said.result, [metadata.Rows.read(each) for each in answers])
        return frames.answer(frames.RESULT, rows)

    async def _found(self, select: Select) -> tuple[Table, VectorIndex]:
        """The table and its newest index on the column.

        Raises:
            Refused: there is none, or the query is not one of those that are understood.
        """
        table = await self._catalog.table(select.keyspace, select.table)
        if table is None:
            raise words.invalid(f"unconfigured table {select.table}")
        place = (select.keyspace, select.table, select.ann_column)
        found = [each for each in self._indexes.values() if (each.keyspace, each.table, each.column) == place]
        if not found:
            raise words.not_indexed()
        if select.limit is None:
            raise words.limit_missing()
        known = {each.column for each in select.where}
        if select.filtered and (not select.where or any(each.sign != "=" for each in select.where)):
            raise words.beyond("an ANN query with other conditions than equality")
        fits = [each for each in found if not each.partition or known >= set(each.partition)]
        if not fits:
            raise words.partition_missing()
        return table, fits[-1]

    async def _marked(self, text: str, select: Select, table: Table, backend: Backend) -> list[metadata.Column]:
        """The bind markers of the conditions."""
        if not any(term.markers for each in select.where for term in each.terms):
            return []
        start, end = select.span
        query = f"SELECT * FROM {table.path} WHERE {text[start:end]} ALLOW FILTERING"
        answer = await backend.ask(frames.PREPARE, frames.long_string(query))
        if answer.opcode == frames.ERROR:
            raise refusal(answer)
        return list(metadata.Statement.read(answer).markers)

    async def _described(self, text: str, select: Select, table: Table, backend: Backend) -> metadata.Statement:
        """What Cassandra says of the selected columns."""
        start, end = select.columns
        answer = await backend.ask(frames.PREPARE, frames.long_string(f"SELECT {text[start:end]} FROM {table.path}"))
        if answer.opcode == frames.ERROR:
            raise refusal(answer)
        return metadata.Statement.read(answer)

    def _ask(self, index: VectorIndex, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the vector store; its failures are InvalidRequests (SCYLLADB.md, "Vector store (http)")."""
        if not self.address:
            raise words.vector_store_without_address()
        path = f"/api/v1/indexes/{quote(index.keyspace, safe='')}/{quote(index.name, safe='')}/ann"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(payload).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise words.vector_store_status(error.code, error.reason, error.read().decode()) from None
        except TimeoutError:
            raise words.vector_store_aborted() from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise words.vector_store_aborted() from None
            raise words.vector_store_unavailable() from None


def _vector(term: Term, values: Sequence[Value]) -> list[float]:
    if not term.markers:
        return [float(each) for each in json.loads(term.text)]
    value = values[term.markers[0]]
    if not isinstance(value, bytes):
        raise words.invalid("Unsupported null value for the vector of an ANN query")
    return [float(each) for each in np.frombuffer(value, ">f4")]


def _filter(condition: Condition, table: Table, values: Sequence[Value]) -> Any:
    """The value of a condition in JSON."""
    (term,) = condition.terms
    if not term.markers:
        return term.text.strip("'")
    value = values[term.markers[0]]
    if not isinstance(value, bytes):
        raise words.invalid(f"Invalid null value in condition for column {condition.column}")
    kind = table.types[condition.column]
    return as_json(cqltypes.lookup_casstype(_MARSHALLED[kind]).deserialize(value, 4))


def _literal(cql_type: str, value: Any) -> str:
    """A key's value, as the vector store has it in JSON, as CQL."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) or cql_type in _PLAIN:
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
