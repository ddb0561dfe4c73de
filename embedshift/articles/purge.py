"""Clean up by a rule: delete what was deactivated long ago, or what another system no longer has.

There are two passes over the live table. The first decides, counts and archives. The second deletes each row only if it
has not changed since. A row that was changed in between is left to the next purge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from embedshift.articles.delete import DEACTIVATED, Deleting, check_soft_delete
from embedshift.articles.files import Archive
from embedshift.articles.keys import Clock, Key, RowLocks, key_of, keys_batch, name_of
from embedshift.articles.routing import AliasCache, Routing
from embedshift.articles.rows import own_columns
from embedshift.errors import InputError, RefusedError
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type
from embedshift.stores.model import Table, remaining_ttl, write_time
from embedshift.times import now_us

_BATCH_ROWS = 500
#: Files keep the time of their last change in coarse steps.
_FILE_CLOCK_US = 10_000

Row = Mapping[str, Any]
#: Whether to delete a row, given the write time of its newest cell in microseconds.
Rule = Callable[[Routing, Row, int], bool]


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did: rows read, rows that match the rule, rows deleted, rows archived."""

    rows: int
    chosen: int
    deleted: int
    archived: int
    dry_run: bool


class Purge:
    """Deletes articles by a rule, through the alias."""

    def __init__(
        self, store: Store, alias_cache: AliasCache, deleting: Deleting, clock: Clock, locks: RowLocks
    ) -> None:
        self._store = store
        self._alias_cache = alias_cache
        self._deleting = deleting
        self._clock = clock
        self._locks = locks

    def inactive(self, inactive_for: timedelta, archive: Path | None, *, dry_run: bool) -> Purged:
        """Delete what has been inactive for longer than that."""
        if inactive_for < timedelta(0):
            raise InputError(f"inactive_for is {inactive_for}", hint="give a duration such as 30d")
        self._alias_cache.reading(check_soft_delete)
        before_ms = now_us() // 1000 - int(inactive_for.total_seconds() * 1000)

        def rule(routing: Routing, row: Row, newest_us: int) -> bool:
            return row[DEACTIVATED] is not None and row[DEACTIVATED] <= before_ms

        return self._purge(rule, archive, max_share=1.0, dry_run=dry_run)

    def not_in(self, path: Path, archive: Path | None, *, max_share: float, dry_run: bool) -> Purged:
        """Delete what is not in a file of ids; articles that are newer than the file are kept."""
        if not 0 <= max_share <= 1:
            raise InputError(f"max_share is {max_share}", hint="give a share from 0 to 1")
        known, made_us = self._alias_cache.reading(lambda routing: _ids(path, routing.live.table))

        def rule(routing: Routing, row: Row, newest_us: int) -> bool:
            return _hash(name_of(routing.live.table, dict(row))) not in known and newest_us <= made_us

        return self._purge(rule, archive, max_share=max_share, dry_run=dry_run)

    def _purge(self, rule: Rule, archive: Path | None, *, max_share: float, dry_run: bool) -> Purged:
        routing = self._alias_cache.now()
        table = routing.live.table
        own = own_columns(routing.live.vector_table, table)
        kept = Archive(archive, (*table.keys, *own)) if archive is not None and not dry_run else None
        try:
            rows, chosen = self._judge(routing, rule, kept)
            if chosen and len(chosen) > max_share * rows:
                raise RefusedError(
                    f"{len(chosen):,} of {rows:,} articles would be deleted, more than {max_share:.0%} of {table.name}",
                    hint="check that the file is complete, or raise --max-share",
                )
            if kept is not None:
                kept.finish()
        except BaseException:
            if kept is not None:
                kept.give_up()
            raise
        deleted = 0 if dry_run else self._delete(rule, chosen)
        return Purged(rows, len(chosen), deleted, kept.rows if kept is not None else 0, dry_run)

    def _judge(self, routing: Routing, rule: Rule, archive: Archive | None) -> tuple[int, dict[bytes, int]]:
        """The number of rows read; and by the hash of each row to delete, the write time of its newest cell."""
        table = routing.live.table
        own = [column.name for column in own_columns(routing.live.vector_table, table)]
        values = own if archive is not None else _judged(table)
        chosen: dict[bytes, int] = {}
        total = 0
        timed = [column.name for column in table.others]
        for batch in self._scan(table, values, timed):
            total += len(batch)
            taken = [row for row in batch if rule(routing, row, _newest(row, own))]
            chosen |= {_hash(name_of(table, row)): _newest(row, timed) for row in taken}
            if archive is not None:
                archive.write(taken)
        return total, chosen

    def _delete(self, rule: Rule, chosen: Mapping[bytes, int]) -> int:
        if not chosen:
            return 0
        deleted = 0
        table = self._alias_cache.now().live.table
        for batch in self._scan(table, [], []):
            keys = [{key.name: row[key.name] for key in table.keys} for row in batch]
            keys = [key for key in keys if _hash(name_of(table, key)) in chosen]
            if keys:
                gone: set[str] = set()
                self._alias_cache.writing(partial(self._sweep, rule, keys, chosen, gone))
                deleted += len(gone)
        return deleted

    def _sweep(
        self, rule: Rule, keys: list[Key], chosen: Mapping[bytes, int], gone: set[str], routing: Routing
    ) -> None:
        """Delete the rows that have not changed. ``gone`` collects their names, for a repetition if the alias moves."""
        table = routing.live.table
        own = [column.name for column in own_columns(routing.live.vector_table, table)]
        timed = [column.name for column in table.others]
        with self._locks.held(name_of(table, key) for key in keys):
            at_us = self._clock.next()
            rows = self._store.fetch(table, keys_batch(table, keys), values=timed, times=timed).to_pylist()
            still: list[tuple[Row, int]] = []
            for row in rows:
                name, newest = name_of(table, row), _newest(row, timed)
                if name in gone or (newest == chosen[_hash(name)] and rule(routing, row, _newest(row, own))):
                    # The very version that was judged: whatever another client writes from now on is newer.
                    still.append((row, newest or at_us))
            if still:
                keys = [{key.name: row[key.name] for key in table.keys} for row, _ in still]
                self._deleting.delete_versions(routing, keys, [newest for _, newest in still])
                gone |= {name_of(table, key) for key in keys} - self._given_back(routing, still)

    def _given_back(self, routing: Routing, deleted: Sequence[tuple[Row, int]]) -> set[str]:
        """The rows that another client wrote while they were being deleted, which have their older cells again."""
        back: set[str] = set()
        for live_table in (routing.live, *routing.others):
            table = live_table.table
            timed = [column.name for column in table.others]
            keys = keys_batch(table, [{key.name: row[key.name] for key in table.keys} for row, _ in deleted])
            now = {name_of(table, row): row for row in self._store.fetch(table, keys, times=timed).to_pylist()}
            own = [column.name for column in own_columns(live_table.vector_table, table)]
            # The live table's own vectors fit its text; another table has other ones, which sync makes again.
            names = [name for name in (timed if live_table is routing.live else own) if name in deleted[0][0]]
            rows = [
                _lost(table, names, row, now[name_of(table, dict(row))], newest)
                for row, newest in deleted
                if name_of(table, dict(row)) in now
            ]
            if rows:
                self._store.write(table, _batch(table, names, rows))
                back |= {name_of(table, row) for row in rows}
        return back

    def _scan(self, table: Table, values: list[str], times: list[str]) -> Iterator[list[dict[str, Any]]]:
        for piece in self._store.ring(table.name):
            for batch in self._store.scan(table, piece.range, values=values, times=times, batch_rows=_BATCH_ROWS):
                yield batch.to_pylist()


def _judged(table: Table) -> list[str]:
    return [DEACTIVATED] if table.column(DEACTIVATED) is not None else []


def _lost(table: Table, names: list[str], row: Row, left: Row, newest: int) -> dict[str, Any]:
    """The cells of a deleted row that are gone, to be written just after the deletion, and before what came later."""
    lost: dict[str, Any] = {key.name: row[key.name] for key in table.keys}
    for name in names:
        gone = row[name] is not None and left[write_time(name)] is None
        lost[name] = row[name] if gone else None
        lost[write_time(name)] = newest + 1 if gone else None
        lost[remaining_ttl(name)] = row[remaining_ttl(name)] if gone else None
    return lost


def _batch(table: Table, names: list[str], rows: list[dict[str, Any]]) -> pa.RecordBatch:
    fields = [pa.field(key.name, arrow_type(key.type)) for key in table.keys]
    for column in (column for column in table.others if column.name in names):
        fields.append(pa.field(column.name, arrow_type(column.type)))
        fields.append(pa.field(write_time(column.name), pa.int64()))
        fields.append(pa.field(remaining_ttl(column.name), pa.int32()))
    return pa.RecordBatch.from_pylist(rows, schema=pa.schema(fields))


def _newest(row: Row, columns: list[str]) -> int:
    return max((row[write_time(name)] or 0 for name in columns), default=0)


def _hash(name: str) -> bytes:
    return xxhash.xxh3_128_digest(name.encode())


def _ids(path: Path, table: Table) -> tuple[set[bytes], int]:
    """The hashes of a file's ids, 16 bytes each, and when the file was made, in microseconds."""
    known: set[bytes] = set()
    try:
        made_us = path.stat().st_mtime_ns // 1000 + _FILE_CLOCK_US
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    known.add(_hash(_name(path, number, line, table)))
    except OSError as error:
        raise InputError(f"cannot read the ids {path} ({error.strerror})", hint="name a JSONL file") from error
    if not known:
        raise InputError(f"{path} contains no id, so every article would be deleted", hint="check how it was made")
    return known, made_us


def _name(path: Path, number: int, line: bytes, table: Table) -> str:
    names = {key.name for key in table.keys}
    try:
        value = json.loads(line.decode("utf-8-sig"))
        if isinstance(value, dict):
            value = {name: part for name, part in value.items() if name in names}
        return name_of(table, key_of(table, value))
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error.what}", hint="fix that line") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {number} is not JSON", hint="fix that line") from error
