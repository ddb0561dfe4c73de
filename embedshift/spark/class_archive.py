"""An archive of the classes that Spark loads: with it, a local JVM starts in half the time (Java's CDS, JEP 350).

It belongs to this Python environment, and is made once, after its packages are installed. A JVM checks whether it fits
its version and its jars, and does without one that does not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

#: Seconds that the making may take.
_DEADLINE_S = 300
#: A small job, like those of the steps, and an end that lets the JVM write down which classes it had.
_JOB = """
import sys
from pyspark import SparkConf, SparkContext
options = f"-XX:ArchiveClassesAtExit={sys.argv[1]} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable"
local = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
conf = SparkConf().setMaster("local[1]").setAll([*local.items(), ("spark.driver.extraJavaOptions", options)])
context = SparkContext(conf=conf)
context.broadcast([1]).value
context.parallelize([1, 2], 2).map(str).collect()
context.stop()
gateway = SparkContext._gateway
gateway.shutdown()
gateway.proc.stdin.close()
gateway.proc.wait()
"""


def archive() -> Path:
    """Where the archive of this environment is, if there is one."""
    return Path(sys.prefix) / "share" / "embedshift" / "spark-classes.jsa"


def archive_options() -> tuple[str, ...]:
    """Options for a JVM that is to use the archive; none if there is none."""
    if not archive().is_file():
        return ()
    # An archive that does not fit is no reason to speak: the JVM only starts as slowly as without one.
    return f"-XX:SharedArchiveFile={_quoted(archive())}", "-Xlog:disable", "-Xlog:all=error:stderr"


def make_archive() -> bool:
    """Make the archive; returns whether it is there. Whoever starts a JVM meanwhile sees the former one, or none."""
    path = archive()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [sys.executable, "-c", _JOB, str(made)]
        try:
            subprocess.run(command, capture_output=True, timeout=_DEADLINE_S, check=False)
            made.replace(path)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return True


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    sys.exit(0 if make_archive() else 1)
