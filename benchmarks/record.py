"""The record of a run: when, with which command, on which machine, with which versions; and its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions

RESULTS = Path(__file__).parent / "results"


def heading(command: str) -> dict[str, Any]:
    """The first part of every record. It is taken before the run, because it says how busy the machine is."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "machine": machine(),
        "versions": versions(),
    }


def write_record(record: Mapping[str, Any], kind: str = "", folder: Path = RESULTS) -> Path:
    """Write JSON, named by date, processor and kind, so that runs of several machines are kept. Returns the file."""
    processor = re.sub(r"[^a-z0-9]+", "-", str(record["machine"]["processor"]).lower()).strip("-")
    parts = [record["date"], processor, f"{record['machine']['cores']}-cores", *[kind] * bool(kind)]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{'-'.join(parts)}.json"
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file
