"""A Spark standalone cluster on this machine, one master and two workers, and a Python environment for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from tests.world import DEADLINE_S, eventually

SPARK = Path(pyspark.__file__).parent
WORKERS = 2
_STARTED = re.compile(r"Starting Spark master at (spark://\S+)")
#: For JVMs that live for seconds, as those of a local context have it.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_REGISTERED = "Successfully registered with master"


def dependencies_only(folder: Path) -> Path:
    """An environment with the libraries of this one, by links, and without the package itself; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        ours = "embedshift" in entry.name or entry.name == "jobs"
        if not ours and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def plain_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would lead a Python to the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "SPARK_HOME": str(SPARK), "SPARK_LOCAL_IP": "127.0.0.1", **more}


class Daemon:
    """A process of the cluster; its log is a file."""

    def __init__(self, folder: Path, name: str, kind: str, *arguments: str) -> None:
        self.log = folder / f"{name}.log"
        command = [SPARK / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1"]
        environment = plain_environment(
            SPARK_DAEMON_MEMORY="256m", SPARK_DAEMON_JAVA_OPTS=QUICK, SPARK_LOG_DIR=str(folder)
        )
        with self.log.open("w") as log:
            # spark-class ends as java itself: this process is the daemon.
            self.process = subprocess.Popen(
                [*command, "--port", "0", "--webui-port", "0", *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self, pattern: str | re.Pattern[str]) -> str:
        """Waits until the log has this; returns its first group, or all of it."""

        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log.read_text()
            return re.search(pattern, self.log.read_text())

        found: re.Match[str] = eventually(look, every_s=0.1)
        return found[found.re.groups]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)


@contextmanager
def standalone_cluster(folder: Path) -> Iterator[str]:
    """Start it, each process on a free port; gives the master's address. Every process is ended with the block."""
    daemons = [Daemon(folder, "master", "master.Master")]
    try:
        master = daemons[0].said(_STARTED)
        for number in range(WORKERS):
            place = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work-{number}")]
            daemons.append(Daemon(folder, f"worker-{number}", "worker.Worker", *place, master))
        for worker in daemons[1:]:
            worker.said(_REGISTERED)
        yield master
    finally:
        # Workers first: they end the executors that they have started.
        for daemon in reversed(daemons):
            daemon.stop()


def submit(
    master: str, archive: Path, python: Path, folder: Path, script: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """spark-submit from a folder that is not the checkout, driver and workers in the same environment."""
    places = ["--master", master, "--py-files", str(archive), "--conf", "spark.ui.enabled=false"]
    for of in ("driver", "executor"):
        places += ["--conf", f"spark.{of}.extraJavaOptions={QUICK}"]
    return subprocess.run(
        [str(SPARK / "bin" / "spark-submit"), *places, str(script), *arguments],
        cwd=folder,
        env=plain_environment(PYSPARK_PYTHON=str(python)),
        capture_output=True,
        text=True,
        timeout=6 * DEADLINE_S,
        check=False,
    )
