"""The record of a run: when, by which command, on which machine, with which versions; and where it is written."""

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
    """What every record begins with. Taken before the run, since it holds how busy the machine is."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "machine": machine(),
        "versions": versions(),
    }


def write_record(record: Mapping[str, Any], kind: str = "", folder: Path = RESULTS) -> Path:
    """JSON, named by date, processor and kind, so that runs of several machines lie side by side. Returns the file."""
    processor = re.sub(r"[^a-z0-9]+", "-", str(record["machine"]["processor"]).lower()).strip("-")
    parts = [record["date"], processor, f"{record['machine']['cores']}-cores", *[kind] * bool(kind)]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{'-'.join(parts)}.json"
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file
