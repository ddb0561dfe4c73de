"""The image of Spark's executors, as far as it can be checked without an engine that builds it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pyspark
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"
_WORDS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "ENTRYPOINT"}
#: What Spark tells the pod of an executor.
_SAID = {
    "SPARK_DRIVER_URL": "spark://driver:7078",
    "SPARK_EXECUTOR_ID": "3",
    "SPARK_EXECUTOR_CORES": "2",
    "SPARK_EXECUTOR_MEMORY": "4g",
    "SPARK_APPLICATION_ID": "app-1",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.7",
    "SPARK_EXECUTOR_POD_NAME": "load-exec-3",
    "SPARK_RESOURCE_PROFILE_ID": "0",
}


@pytest.fixture(scope="module")
def recipe() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: the keyword and what follows it."""
    text = re.sub(r"^#.*\n", "", (ROOT / "docker" / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_every_instruction_is_one(recipe: list[tuple[str, str]]) -> None:
    assert {word for word, _ in recipe} == _WORDS
    assert recipe[0][0] == "FROM"
    assert re.fullmatch(r"[\w/.-]+:[\w.-]*\d[\w.-]*", recipe[0][1]), "a base image without a version"
    assert json.loads(dict(recipe)["ENTRYPOINT"])[-1] == "/opt/entrypoint.sh"


def test_what_is_copied_is_there_and_in_the_context(recipe: list[tuple[str, str]]) -> None:
    copied = {source for word, rest in recipe if word == "COPY" for source in rest.split()[:-1]}
    context = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()}

    assert {each for each in copied if not (ROOT / each).exists()} == set()
    assert copied <= context


def test_every_command_is_one_for_the_shell(recipe: list[tuple[str, str]]) -> None:
    for command in (rest for word, rest in recipe if word == "RUN"):
        subprocess.run(["sh", "-n", "-c", command], check=True, timeout=60)
    subprocess.run(["bash", "-n", ENTRYPOINT], check=True, timeout=60)


def test_it_is_not_run_by_root(recipe: list[tuple[str, str]]) -> None:
    assert [rest for word, rest in recipe if word == "USER"][-1] not in ("root", "0")


@pytest.fixture
def said(tmp_path: Path) -> dict[str, str]:
    """An environment in which java and spark-submit say what they were asked for."""
    for name in ("java", "bin/spark-submit"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SPARK_HOME": str(tmp_path), **_SAID}


def test_an_executor_is_started_as_spark_says(said: dict[str, str]) -> None:
    options = {f"SPARK_JAVA_OPT_{at}": f"-Doption={at} of 11" for at in range(11)}
    started = subprocess.check_output([ENTRYPOINT, "executor"], env=said | options, text=True, timeout=60).splitlines()

    assert started[:11] == [f"-Doption={at} of 11" for at in range(11)]
    assert {"-Xmx4g", "spark://driver:7078", "load-exec-3"} <= set(started)
    assert set(_SAID.values()) - {"4g"} <= set(started)


def test_a_driver_is_a_spark_submit_and_anything_else_is_run(said: dict[str, str]) -> None:
    bound = said | {"SPARK_DRIVER_BIND_ADDRESS": "10.0.0.6"}
    driver = subprocess.check_output([ENTRYPOINT, "driver", "load.py", "a b"], env=bound, text=True, timeout=60)
    other = subprocess.check_output([ENTRYPOINT, "echo", "a b"], env=said, text=True, timeout=60)

    assert driver.splitlines()[-4:] == ["--conf", "spark.driver.bindAddress=10.0.0.6", "load.py", "a b"]
    assert other == "a b\n"


def test_the_words_are_those_of_the_spark_that_is_installed() -> None:
    (jar,) = (Path(pyspark.__file__).parent / "jars").glob("spark-kubernetes_*.jar")
    with zipfile.ZipFile(jar) as classes:
        names = classes.read("org/apache/spark/deploy/k8s/Constants$.class")
        backend = "org/apache/spark/scheduler/cluster/k8s/KubernetesExecutorBackend.class"
        assert backend in classes.namelist()
    used = set(re.findall(r"\bSPARK_[A-Z_]+\b", ENTRYPOINT.read_text("utf-8"))) - {"SPARK_HOME"}

    assert {name for name in used if name.encode() not in names} == set()
