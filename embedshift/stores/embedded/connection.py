"""Connections to one SQLite file, and SQLite's errors as errors of this program."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from embedshift.errors import EmbedshiftError, SchemaError, StoreUnavailable

#: Marks the file as ours ("emsh"), so that we never write into another program's database.
_APPLICATION_ID = 0x656D7368
_FORMAT = 1
_CACHE_KIB = 16 * 1024
_CHECKPOINT_PAGES = 4000

_CAUSES = {
    sqlite3.SQLITE_PERM: ("may not be opened", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_BUSY: ("was locked by another process for too long", "try again, or raise store.request_timeout"),
    sqlite3.SQLITE_LOCKED: ("was locked for too long", "try again, or raise store.request_timeout"),
    sqlite3.SQLITE_READONLY: ("may not be written", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check the disk that holds it"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "restore it from a backup"),
    sqlite3.SQLITE_FULL: ("cannot grow: its disk is full", "free some space and run the step again"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check store.path and the permissions of its folder"),
    sqlite3.SQLITE_NOTADB: ("is not an SQLite database", "name another file in store.path"),
}


class Connections:
    """The open connections of a store.

    One thread at a time uses a connection; then the next thread may use it. A forked child never uses those of its
    parent, as SQLite requires: idle connections are kept by process id.

    Args:
        path: the SQLite file; created, with its folder, if it is missing.
        timeout: how long a statement waits for another process's lock.

    Raises:
        StoreUnavailable: the file cannot be used.
    """

    def __init__(self, path: Path, timeout: timedelta) -> None:
        self.path = path
        self._timeout_s = timeout.total_seconds()
        self._idle: dict[int, deque[sqlite3.Connection]] = {}
        self._closed = False
        self._make_folder()
        try:
            with self.borrow() as connection:
                self._claim(connection)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        """A connection on which every statement is its own transaction."""
        if self._closed:
            raise StoreUnavailable(f"the store in {self.path} is closed", hint="open it again")
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give(connection)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection that holds the write lock: all statements take effect, or none."""
        with self.borrow() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection whose reads all see one state of the database."""
        with self.borrow() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    def ensure(self, tables: Mapping[str, str]) -> None:
        """Create the SQLite tables that are missing, by name and statement; takes no lock if none is missing."""
        known = "SELECT name FROM sqlite_schema WHERE type = 'table'"
        with self.borrow() as connection:
            there = {name for (name,) in connection.execute(known).fetchall()}
        if missing := tables.keys() - there:
            with self.transaction() as connection:
                there = {name for (name,) in connection.execute(known).fetchall()}
                for name in sorted(missing - there):
                    connection.execute(tables[name])

    def copy(self, name: str) -> Path:
        """Copy the whole database to a file next to it, with ``name`` in its name. Raises SchemaError if it exists."""
        to = self.path.with_name(f"{self.path.stem}-{name}{self.path.suffix}")
        if to.exists():
            raise SchemaError(f"there is a copy {to} already", hint="move it away")
        with self.borrow() as connection:
            connection.execute("VACUUM INTO ?", (str(to),))
        return to

    def close(self) -> None:
        """Close the idle connections now, and the others when they are no longer used."""
        self._closed = True
        idle = self._idle.get(os.getpid(), deque())
        while idle:
            idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.setdefault(os.getpid(), deque()).pop()
        except IndexError:
            return self._connect()

    def _give(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.rollback()
        except BaseException:
            connection.close()
            raise
        self._idle.setdefault(os.getpid(), deque()).append(connection)
        if self._closed:
            self.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.text_factory = _decoded
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            # An acknowledged row survives a power failure, not only a kill.
            connection.execute("PRAGMA synchronous = FULL")
            self._use_wal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Let readers and one writer work at the same time.

        The change needs exclusive access to the file, and SQLite does not wait for it if several processes open a new
        file at the same time.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"the folder {self.path.parent} of the store cannot be created ({error.strerror})",
                hint="check store.path and the permissions there",
            ) from error
        if self.path.is_dir():
            raise StoreUnavailable(f"{self.path} is a folder", hint="name a file in store.path")

    def _claim(self, connection: sqlite3.Connection) -> None:
        """Mark a new file as ours; refuse another program's file, and an unknown format."""
        if (found := _mark(connection)) != (_APPLICATION_ID, _FORMAT):
            connection.execute("BEGIN IMMEDIATE")
            found = _mark(connection)
            if found == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
                connection.execute("COMMIT")
                return
        if found[0] != _APPLICATION_ID:
            raise StoreUnavailable(f"{self.path} is another program's database", hint="name another file in store.path")
        if found[1] != _FORMAT:
            raise StoreUnavailable(
                f"{self.path} has the format {found[1]}; this version of embedshift knows only {_FORMAT}",
                hint="use the version that wrote it",
            )


def _mark(connection: sqlite3.Connection) -> tuple[int, int]:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    return application, connection.execute("PRAGMA user_version").fetchone()[0]


def rows_of(connection: sqlite3.Connection, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """All rows of a SELECT. SQLite decodes the texts; if one is not UTF-8, all are decoded again, more slowly."""
    connection.text_factory = str
    try:
        return connection.execute(statement, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode"):
            raise
    finally:
        connection.text_factory = _decoded
    return connection.execute(statement, parameters).fetchall()


def _decoded(data: bytes) -> str:
    # Another program may have put bytes into a text column that are not UTF-8; a scan must still work.
    return data.decode("utf-8", "replace")


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 if the error does not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explain(error: sqlite3.Error, path: Path) -> EmbedshiftError:
    """An error of SQLite as an error of this program.

    Raises:
        sqlite3.Error: the error itself, if only a bug of this program can explain it.
    """
    code = _primary_code(error)
    if code in _CAUSES:
        cause, hint = _CAUSES[code]
        return StoreUnavailable(f"{path} {cause} ({error})", hint=hint)
    if str(error).startswith(("no such table", "no such column")):
        return SchemaError(f"{path} has changed or lacks a table ({error})", hint="see embedshift schema show")
    raise error
