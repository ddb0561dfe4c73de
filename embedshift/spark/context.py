"""The Spark context: the one that spark-submit provides, or one made from the settings."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

from embedshift.catalog.vector_table import ModelRecord
from embedshift.errors import UnavailableError
from embedshift.settings import Settings
from embedshift.spark.class_archive import archive_options
from embedshift.spark.interrupts import handling, interrupt, interruptible, own_handler
from embedshift.spark.private_directory import fits_sockets, private_directory
from embedshift.telemetry import terminal
from embedshift.telemetry.logs import WORKER, current_plan

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext


#: What embedshift needs of Spark; spark.conf in the settings may change the rest, and these at your own risk.
_CONF = {
    "spark.python.daemon.module": "embedshift.spark.worker",
    "spark.python.worker.reuse": "true",
    "spark.ui.showConsoleProgress": "false",
    # A failed task fails its range, which the driver plans again in halves, so that Spark need not retry.
    "spark.task.maxFailures": "2",
    # A worker whose task was cancelled is killed at the monitor's next look, at most two seconds later.
    "spark.python.task.killTimeout": "0s",
}
#: One task per core: with threads of its own a matrix product would compete with its neighbours.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_UNIX_SOCKETS = "spark.python.unix.domain.socket.enabled"
_JAVA = "spark.driver.extraJavaOptions"
#: Seconds that a killed JVM has to end.
_END_S = 10.0
_PYTHONPATH = "spark.executorEnv.PYTHONPATH"
#: The JVM of a local context does little but start tasks: a second compiler and a parallel collector would take
#: time from the workers' cores and give nothing back.
_JVM_LOCAL = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
)
_CONF_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
}


@contextmanager
def spark_context(settings: Settings, name: str, *, model: ModelRecord | None = None) -> Iterator[SparkContext]:
    """A context; if it was started here, it is stopped at the end. No SparkSession is needed, which takes seconds.

    Args:
        name: the step's name, for Spark's own pages.
        model: the model that most tasks will need: it is loaded once per machine, before the workers fork.

    Raises:
        UnavailableError: Java is missing, or the master does not answer.
    """
    # Workers must run the interpreter that has the models' libraries, not the system's python3.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if settings.spark.master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException

    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        _find_java()
    running = SparkContext._active_spark_context
    conf = SparkConf().setAll(list(_conf(settings, submitted, model).items()))
    with interruptible():
        with own_handler():
            try:
                _start_jvm(conf)
                _ship_to_daemons(conf)
                context = SparkContext.getOrCreate(conf.setAppName(f"embedshift {name}"))
            except (PySparkException, OSError, RuntimeError) as error:
                raise UnavailableError(
                    f"Spark does not start ({terminal.last_words() or type(error).__name__})",
                    hint="--set log.level=debug shows all that it says",
                ) from error
        yield from _ended(context, keep=running is not None)


def _ended(context: SparkContext, *, keep: bool) -> Iterator[SparkContext]:
    """Yield the context; stop it afterwards unless it existed before, and raise an error if its JVM has ended."""
    try:
        yield context
    except Exception as error:
        # However the step noticed it: a refused connection, an empty answer, ranges without an outcome.
        if _jvm_has_ended():
            hint = "find out why (the system may have killed it for memory), and run the same command again"
            raise UnavailableError("Spark's JVM has ended in the middle of the step", hint=hint) from error
        raise
    finally:
        if not keep and not _jvm_has_ended():
            context.stop()


def _start_jvm(conf: SparkConf) -> None:
    """Start the JVM, or connect to the one of spark-submit, and let Ctrl-C wait for it.

    A JVM that PySpark abandons while it starts would fail, hang, and outlive this process.
    """
    from pyspark import SparkContext

    if SparkContext._gateway is not None:
        return
    interrupts: list[int] = []
    with handling(lambda number, _: interrupts.append(number)):
        SparkContext._ensure_initialized(conf=conf)
    if interrupts:
        interrupt(interrupts[0], None)


def _ship_to_daemons(conf: SparkConf) -> None:
    """Let the Python daemon of an executor import what ``--py-files`` ships.

    Spark fetches these archives into the executor's working directory before it starts the daemon, but tells only the
    workers, which the daemon forks, where they are.
    """
    from pyspark import SparkConf

    # When the JVM is there, a new configuration contains what spark-submit was told.
    told = {**dict(SparkConf().getAll()), **dict(conf.getAll())}
    archives = [Path(each).name for each in told.get("spark.submit.pyFiles", "").split(",") if each.endswith(".zip")]
    if archives:
        path = [*archives, *filter(None, [told.get(_PYTHONPATH)])]
        conf.set(_PYTHONPATH, os.pathsep.join(path))


def _jvm_has_ended() -> bool:
    """Whether the JVM that this process started has ended; False for a JVM that spark-submit started."""
    from pyspark import SparkContext

    process = getattr(SparkContext._gateway, "proc", None)
    return process is not None and process.poll() is not None


def _conf(settings: Settings, submitted: bool, model: ModelRecord | None) -> dict[str, str]:
    workers = {f"spark.executorEnv.{name}": "1" for name in _ONE_THREAD}
    if model is not None:
        workers |= {"spark.executorEnv.EMBEDSHIFT_WORKER_MODEL": json.dumps(model.plain())}
    if (plan := current_plan()) is not None:
        # Workers on this machine write into the JVM's standard error, from which their lines are passed on.
        marked = terminal.is_ours() and not submitted and settings.spark.master.partition("[")[0] == "local"
        plan = replace(plan, mark=terminal.MARK if marked else "")
        workers |= {f"spark.executorEnv.{WORKER}": plan.to_json()}
    chosen = {key: str(value) for key, value in settings.spark.conf.items()}
    own = {**_CONF, **_sockets(_run_directory()), **workers}
    if submitted:
        return {**own, **chosen}
    local: dict[str, str] = {}
    if settings.spark.master.startswith("local"):
        local = _CONF_LOCAL | _files(_run_directory())
        # A user's own options come on top of these.
        local[_JAVA] = f"{local[_JAVA]} {chosen.pop(_JAVA, '')}".rstrip()
    return {"spark.master": settings.spark.master, **own, **local, **chosen}


def _files(directory: Path) -> dict[str, str]:
    """Where Spark's JVM, the libraries that it unpacks, and the workers' libraries have their temporary files."""
    quoted = str(directory).replace("\\", "\\\\").replace('"', '\\"')
    options = " ".join((*_JVM_LOCAL, *archive_options(), f'"-Djava.io.tmpdir={quoted}"'))
    return {"spark.local.dir": str(directory), "spark.executorEnv.TMPDIR": str(directory), _JAVA: options}


@lru_cache(maxsize=1)
def _run_directory() -> Path:
    """This process's directory for sockets and Spark's files, to its end: a JVM keeps it for its whole life."""
    stack = ExitStack()
    atexit.register(stack.close)
    path = stack.enter_context(private_directory())
    # Before it is removed: a JVM that still lives would make parts of it again, with the umask.
    stack.callback(_end_jvm)
    return path


def _end_jvm() -> None:
    """End the JVM that this process started, if there is one."""
    if (pyspark := sys.modules.get("pyspark")) is None:
        return
    process = getattr(pyspark.SparkContext._gateway, "proc", None)
    if process is not None and process.poll() is None:
        process.kill()
        with suppress(TimeoutExpired):
            process.wait(_END_S)


def _sockets(directory: Path) -> dict[str, str]:
    """Where Python and the JVM meet: in the directory, or on the loopback interface, where both must show a secret."""
    if fits_sockets(directory):
        # With delayed acknowledgements on TCP each task waits about 40 ms for the other side.
        return {_UNIX_SOCKETS: "true", "spark.python.unix.domain.socket.dir": str(directory)}
    return {_UNIX_SOCKETS: "false"}


def _find_java() -> None:
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        raise UnavailableError(
            "Spark needs Java 17 or 21, and none is on the path", hint="install one, or set JAVA_HOME"
        )
