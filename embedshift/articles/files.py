"""Files of archived articles: JSONL or Parquet, by suffix. Their articles can be added again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from embedshift.errors import InputError
from embedshift.stores.cql_types import arrow_type, to_json
from embedshift.stores.model import Column

_SUFFIXES = (".jsonl", ".parquet")


class Archive:
    """Collects articles in a temporary file beside the named one; ``finish`` syncs it to disk and renames it.

    Raises:
        InputError: the suffix is unknown, or the file exists or cannot be created.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        if path.suffix.lower() not in _SUFFIXES:
            raise InputError(
                f"{path} is not an archive file", hint=f"name a file that ends in {' or '.join(_SUFFIXES)}"
            )
        if path.exists():
            raise InputError(f"{path} exists, and an archive is never overwritten", hint="name another file")
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._columns = columns
        self._parquet = path.suffix.lower() == ".parquet"
        self.rows = 0
        try:
            self._file: BinaryIO = self._part.open("wb")
        except OSError as error:
            raise self._failed(error) from error
        self._schema = pa.schema([pa.field(each.name, _kept_type(each)) for each in columns])
        self._writer = pq.ParquetWriter(self._file, self._schema) if self._parquet else None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows whose values are in their Arrow form."""
        if not rows:
            return
        self.rows += len(rows)
        try:
            if self._writer is not None:
                arrays = [
                    pa.array([_kept(each, row[each.name]) for row in rows], _kept_type(each)) for each in self._columns
                ]
                self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
                return
            for row in rows:
                tree = {each.name: to_json(each.type, row[each.name]) for each in self._columns}
                plain = {name: value for name, value in tree.items() if value is not None}
                self._file.write(json.dumps(plain, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Put the file in place once it is on disk; if nothing was archived, there is no file."""
        try:
            if self._writer is not None:
                self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self.rows:
                self._part.replace(self._path)
            else:
                self._part.unlink()
        except OSError as error:
            raise self._failed(error) from error

    def give_up(self) -> None:
        """Remove the temporary file."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> InputError:
        return InputError(f"cannot write the archive {self._path} ({error.strerror})", hint="name another file")


def read_archive(path: Path) -> Iterator[dict[str, Any]]:
    """The articles of an archive, as ``add_many`` takes them. Raises InputError if it cannot be read."""
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches():
                    for row in batch.to_pylist():
                        yield {name: value for name, value in row.items() if value is not None}
            return
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the archive {path} ({type(error).__name__})") from error


def _kept_type(column: Column) -> pa.DataType:
    if column.type in ("uuid", "timeuuid"):
        return pa.string()
    return pa.timestamp("ms", "UTC") if column.type == "timestamp" else arrow_type(column.type)


def _kept(column: Column, value: Any) -> Any:
    return to_json(column.type, value) if column.type in ("uuid", "timeuuid") else value
