"""The jars of Apache Cassandra, fetched once with Maven into a cache that processes share."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.cassandra_node.errors import CassandraUnavailable

VERSION = "5.0.5"

_POM = Path(__file__).with_name("pom.xml")
_FETCH_DEADLINE_S = 900


def cache_folder() -> Path:
    """Where the jars are kept: ``$EMBEDSHIFT_CACHE``, or the user's cache folder."""
    base = os.environ.get("EMBEDSHIFT_CACHE")
    return Path(base) if base else Path.home() / ".cache" / "embedshift"


def jar_folder() -> Path:
    """The folder with Cassandra's jars, fetched if it is not there yet.

    The folder appears complete or not at all: it is filled under another name and renamed. A lock keeps a second
    process waiting instead of fetching the same.

    Raises:
        CassandraUnavailable: Maven is not installed, or it could not fetch the jars.
    """
    folder = cache_folder() / f"cassandra-{VERSION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise CassandraUnavailable("Maven (mvn) is not installed: it fetches Cassandra's jars")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as temporary:
        jars = Path(temporary) / "jars"
        _copy_dependencies(maven, jars)
        if not list(jars.glob(f"cassandra-all-{VERSION}.jar")):
            raise CassandraUnavailable(f"Maven brought no jar of Cassandra {VERSION}")
        jars.rename(folder)


def _copy_dependencies(maven: str, target: Path) -> None:
    command = [maven, "--batch-mode", "--quiet", "--file", str(_POM), f"-Dcassandra.version={VERSION}",
               f"-DoutputDirectory={target}", "-DincludeScope=runtime", "dependency:copy-dependencies"]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_FETCH_DEADLINE_S, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        raise CassandraUnavailable(f"Maven did not fetch the jars within {_FETCH_DEADLINE_S} s") from None
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise CassandraUnavailable(f"Maven could not fetch the jars: {errors[0] if errors else done.stderr.strip()}")
