"""Erasure: remove an article from every place where embedshift keeps it, then read each place again.

The places: the live table, every other table of the alias's migrations, dead letters, the ledger, the validations in
the catalog and the files that they were written to. Not covered: the database's own files until it has compacted them,
its snapshots and backups, archives of a purge, and what applications keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.articles.keys import Clock, Key, RowLocks, key_of, keys_batch, name_of, plain_id
from embedshift.articles.routing import AliasCache, Routing
from embedshift.catalog.dead_letters import drop_dead_letter, read_dead_letters
from embedshift.catalog.ledger import forget_row
from embedshift.catalog.migration import migrations
from embedshift.catalog.raised_cells import forget_raised_row
from embedshift.catalog.tables import VALIDATION
from embedshift.catalog.validations import pages_of, record_path
from embedshift.errors import CheckFailed, InputError, SchemaError, UnavailableError
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.stores.model import Table, write_time

_GONE = "(erased)"


@dataclass(frozen=True, slots=True)
class Erased:
    """One place, and how many traces of the article were found and removed there. None are left."""

    place: str
    found: int

    def __str__(self) -> str:
        return f"{self.place}: {f'{self.found} removed' if self.found else 'nothing found'}, nothing left"


def erase(
    store: Store, settings: Settings, alias_cache: AliasCache, clock: Clock, locks: RowLocks, id: Any
) -> list[Erased]:
    """Erase one article; see ``Articles.erase``."""
    erasure = _Erasure(store, settings, clock)

    def operation(routing: Routing) -> list[Erased]:
        key = key_of(routing.live.table, id)
        # A change that another thread has begun must not end after the deletion with a later write time.
        with locks.held([name_of(routing.live.table, key)]):
            return erasure.run(routing, key)

    return alias_cache.writing(operation)


class _Erasure:
    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def run(self, routing: Routing, key: Key) -> list[Erased]:
        name = name_of(routing.live.table, key)
        known = migrations(self._store, self._settings.alias)
        others = dict.fromkeys(
            [each.vector_table.table for each in routing.others]
            + [each.table for migration in known for each in (migration.source, migration.target)]
        )
        others.pop(routing.live.vector_table.table, None)
        done = [self._of_table("live table", routing.live.table, key)]
        for table in others:
            if (described := self._described(table, routing.live.table)) is not None:
                done.append(self._of_table("table", described, key))
        done.append(self._of_letters([migration.id for migration in known], name))
        done.append(self._of_ledger([migration.id for migration in known], name))
        traces = _Traces(json.loads(name), plain_id(routing.live.table, key))
        done.append(self._of_validations([migration.id for migration in known], traces))
        done += [self._of_file(path, traces) for path in self._files([migration.id for migration in known])]
        named = self._settings.validation.report
        pages = dict.fromkeys(path for migration in known for path in pages_of(named, migration.id))
        done += [self._of_page(path, traces) for path in pages]
        return done

    def _described(self, name: str, live: Table) -> Table | None:
        """A table of the alias, if it still exists and still has the same key."""
        try:
            table = self._store.describe(name)
        except SchemaError:
            return None
        same = [(key.name, key.type) for key in table.keys] == [(key.name, key.type) for key in live.keys]
        return table if same else None

    def _of_table(self, kind: str, table: Table, key: Key) -> Erased:
        place = f"{kind} {table.name}"
        keys, times = keys_batch(table, [key]), [column.name for column in table.others]
        at_us = self._clock.next()
        rows = self._store.fetch(table, keys, times=times).to_pylist()
        newest = max((row[write_time(each)] or 0 for row in rows for each in times), default=0)
        # Delete even if nothing is there: a row that a running load writes later must be hidden by the deletion.
        self._store.delete(table, keys, np.array([max(at_us, newest + 1)], np.int64))
        self._prove(place, self._store.fetch(table, keys).num_rows)
        return Erased(place, len(rows))

    def _of_letters(self, known: list[str], name: str) -> Erased:
        found = 0
        for migration in known:
            held = any(letter.id == name for letter in read_dead_letters(self._store, migration))
            if held:
                drop_dead_letter(self._store, migration, name)
                self._prove(
                    "dead letters", any(letter.id == name for letter in read_dead_letters(self._store, migration))
                )
            found += held
        return Erased("dead letters", found)

    def _of_ledger(self, known: list[str], name: str) -> Erased:
        def forgotten() -> int:
            ways = (forget_row, forget_raised_row)
            return sum(forget(self._store, migration, name) for migration in known for forget in ways)

        found = forgotten()
        self._prove("the ledger", forgotten())
        return Erased("ledger", found)

    def _of_validations(self, known: list[str], traces: _Traces) -> Erased:
        found = 0

        def rows(migration: str) -> list[dict[str, Any]]:
            return list(self._store.records.select(VALIDATION, {"migration": migration}))

        for migration in known:
            for row in rows(migration):
                tree, count = traces.removed(json.loads(row["report"]))
                if count:
                    self._store.records.put(VALIDATION, [{**row, "report": json.dumps(tree)}])
                found += count
            left = sum(traces.removed(json.loads(row["report"]))[1] for row in rows(migration))
            self._prove("validations in the catalog", left)
        return Erased("validations in the catalog", found)

    def _files(self, known: list[str]) -> list[Path]:
        named = self._settings.validation.report
        paths = [named] if named is not None else []
        paths += [record_path(None, migration) for migration in known]
        return [path for path in dict.fromkeys(paths) if path.is_file()]

    def _of_file(self, path: Path, traces: _Traces) -> Erased:
        place = f"report {path}"
        try:
            tree, found = traces.removed(json.loads(path.read_text(encoding="utf-8")))
            if found:
                part = path.with_name(f"{path.name}.part")
                part.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                part.replace(path)
            self._prove(place, traces.removed(json.loads(path.read_text(encoding="utf-8")))[1])
        except ValueError as error:
            raise InputError(f"the report {path} is no longer JSON", hint="check it, and remove it") from error
        except OSError as error:
            raise UnavailableError(
                f"cannot erase from the report {path} ({error.strerror})", hint="remove it yourself, then erase again"
            ) from error
        return Erased(place, found)

    def _of_page(self, path: Path, traces: _Traces) -> Erased:
        """A page that names the article is removed as a whole; ``embedshift report`` makes it again."""
        try:
            found = traces.named_in(path.read_text(encoding="utf-8"))
            if found:
                path.unlink()
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"cannot erase from the report {path}", hint="remove it yourself, then erase again"
            ) from error
        return Erased(f"report {path}", int(found))

    def _prove(self, place: str, left: int) -> None:
        if left:
            raise CheckFailed(
                f"{place} still has the article after its erasure", hint="a clock may be ahead; erase again"
            )


class _Traces:
    """The traces of an article in a report: its key in the examples, its id in the answers."""

    def __init__(self, key: dict[str, Any], plain: Any) -> None:
        self._key = key
        self._names = {plain if isinstance(plain, str) else json.dumps(plain), str(plain)}
        self._names.add(plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False))

    def named_in(self, page: str) -> bool:
        """Whether a page of HTML or Markdown may name the article, in its escaped form."""
        text = " ".join(unescape(page).replace("\\", "").replace("\u200b", "").split())
        return any(" ".join(name.replace("\\", "").split()) in text for name in self._names)

    def removed(self, report: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The report without the traces, and how many there were."""
        examples = {
            kind: [each for each in rows if each != self._key] for kind, rows in (report.get("examples") or {}).items()
        }
        found = sum(len(rows) for rows in (report.get("examples") or {}).values())
        found -= sum(len(rows) for rows in examples.values())
        tree = {**report, **({"examples": examples} if "examples" in report else {})}
        relevance = report.get("relevance")
        if relevance and relevance.get("lost_most"):
            count = [0]
            lost = [self._veiled(each, count) for each in relevance["lost_most"]]
            tree["relevance"] = {**relevance, "lost_most": lost}
            found += count[0]
        return tree, found

    def _veiled(self, question: dict[str, Any], count: list[int]) -> dict[str, Any]:
        veiled = dict(question)
        for side, answers in question.items():
            if isinstance(answers, list):
                count[0] += sum(str(each) in self._names for each in answers)
                veiled[side] = [_GONE if str(each) in self._names else each for each in answers]
        return veiled
