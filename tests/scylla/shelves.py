"""Tables of articles for the tests of the stand-in, by the plain driver."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cassandra import InvalidRequest
from cassandra.cluster import Session

from tests.scylla.servers import Server

X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Shelf:
    """A table with a text key, a title, and a vector of three dimensions."""

    session: Session
    server: Server
    table: str

    @property
    def keyspace(self) -> str:
        return str(self.session.keyspace)

    @property
    def index(self) -> str:
        return f"{self.table}_idx"

    def put(self, id_: str, vector: list[float] | None, at_us: int | None = None, title: str = "t") -> int:
        """Insert a row; returns its write time."""
        at = now_us() if at_us is None else at_us
        insert = f"INSERT INTO {self.table} (id, title, v) VALUES (%s, %s, %s) USING TIMESTAMP {at}"
        self.session.execute(insert, (id_, title, vector))
        return at

    def create_index(self, name: str = "", **options: str) -> None:
        said = ", ".join(f"'{key}': '{value}'" for key, value in options.items())
        self.session.execute(
            f"CREATE CUSTOM INDEX {name or self.index} ON {self.table} (v) USING 'vector_index' "
            f"WITH OPTIONS = {{{said}}}"
        )

    def search(self, vector: list[float], limit: int = 1) -> list[str]:
        """The ids of the nearest rows."""
        found = self.session.execute(f"SELECT id FROM {self.table} ORDER BY v ANN OF %s LIMIT {limit}", (vector,))
        return [row["id"] for row in found]

    def searches(self, vector: list[float]) -> bool:
        """Whether a search succeeds."""
        try:
            self.search(vector)
        except InvalidRequest:
            return False
        return True

    def status(self, name: str = "") -> dict[str, Any] | None:
        """What the vector store says of the index; None if it does not know it."""
        address = self.server.settings.vector_status[0]
        url = f"{address}/api/v1/indexes/{self.keyspace}/{name or self.index}/status"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            return None

    def serving(self, eventually: Callable[..., Any], **options: str) -> None:
        """Create the index, and wait until it serves."""
        self.create_index(**options)
        eventually(lambda: (self.status() or {}).get("status") == "SERVING")
        eventually(lambda: self.searches(X))

    def log(self) -> list[dict[str, Any]]:
        """The rows of the log, by time."""
        rows = self.session.execute(f"SELECT * FROM {self.table}_scylla_cdc_log")
        return sorted(rows, key=lambda row: (row["cdc$time"].time, row["cdc$batch_seq_no"]))

    def first_stream_us(self) -> int:
        """The time of the oldest set of streams of the log."""
        query = (
            "SELECT toUnixTimestamp(timestamp) AS ms FROM system.cdc_timestamps "
            "WHERE keyspace_name = %s AND table_name = %s"
        )
        return min(int(row["ms"]) for row in self.session.execute(query, (self.keyspace, self.table))) * 1000

    def settle(self) -> None:
        """Wait until the readers have passed everything that was written before."""
        time.sleep(self.server.settled_s)


def new_name() -> str:
    return f"t{uuid.uuid4().hex[:12]}"
