"""The examples for schedulers: each is what its reader takes, and its command line one that embedshift takes."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from embedshift.cli.app import app
from embedshift.times import parse_window

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = [ROOT / "docs" / "how-to" / "schedule-upgrades.md", ROOT / "docs" / "how-to" / "hooks.md"]


def parsed(line: list[str]) -> dict[str, Any]:
    """The options of a command line that begins with the program, by the real parser."""
    program, name, *rest = line
    assert Path(program).name == "embedshift"
    group = typer.main.get_command(app)
    command = group.get_command(group.make_context("embedshift", [], resilient_parsing=True), name)  # type: ignore[attr-defined]
    assert command is not None, f"there is no command {name}"
    options: dict[str, Any] = command.make_context(name, rest).params
    if options.get("when") is not None:
        parse_window(options["when"])
    return options


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((EXAMPLES / name).read_text("utf-8"))
    return parser


def test_the_parser_of_these_tests_refuses_what_embedshift_refuses():
    with pytest.raises(Exception, match="No such option"):
        parsed(shlex.split("embedshift upgrade --config a.yaml --to-modle b"))
    with pytest.raises(AssertionError, match="no command"):
        parsed(["embedshift", "upgrad"])


def test_the_cron_line_is_one():
    lines = [line for line in (EXAMPLES / "upgrade.cron").read_text("utf-8").splitlines() if re.match(r"[\d*]", line)]
    (line,) = lines
    minute, hour, day, month, weekday, user, command = line.split(maxsplit=6)
    assert re.fullmatch(r"[0-5]?\d", minute)
    assert (hour, day, month, weekday, user) == ("*", "*", "*", "*", "embedshift")
    assert "%" not in command, "cron makes a line break of it"
    options = parsed(shlex.split(command.partition(">>")[0]))
    assert (options["to_model"], options["when"], options["as_json"]) == ("BAAI/bge-large-en-v1.5", "22:00-06:00", True)


def test_the_systemd_units_are_what_systemd_reads(tmp_path):
    service, timer = unit("embedshift-upgrade.service"), unit("embedshift-upgrade.timer")
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["KillSignal"] == "SIGINT"
    assert timer["Timer"]["OnCalendar"] == "hourly"
    assert parsed(shlex.split(service["Service"]["ExecStart"]))["when"] == "sat,sun 22:00-06:00"
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here to ask")
    for name in ("embedshift-upgrade.service", "embedshift-upgrade.timer"):
        text = (EXAMPLES / name).read_text("utf-8")
        # The program and its user are not on this machine.
        text = text.replace("/opt/embedshift/bin/embedshift", "/bin/true").replace("User=embedshift", "User=root")
        (tmp_path / name).write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        timeout=120,
    )
    assert [line for line in verified.stderr.splitlines() if "embedshift-upgrade" in line] == []


def test_the_airflow_dag_runs_lines_that_embedshift_takes():
    module = ast.parse((EXAMPLES / "airflow_dag.py").read_text("utf-8"))
    lines = {
        name.id: ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    used = {
        keyword.value.id
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "bash_command" and isinstance(keyword.value, ast.Name)
    }
    assert used == set(lines) == {"UPGRADE", "AUDIT"}
    for line in lines.values():
        assert parsed(shlex.split(line))["config"] == Path("/etc/embedshift/articles.yaml")


def test_the_kubernetes_cron_job_has_the_fields_that_kubernetes_wants():
    job = yaml.safe_load((EXAMPLES / "kubernetes-cronjob.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"], job["spec"]["concurrencyPolicy"]) == ("batch/v1", "CronJob", "Forbid")
    assert len(job["spec"]["schedule"].split()) == 5
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] in ("Never", "OnFailure")
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert parsed([*container["command"], *container["args"]])["when"] == "22:00-06:00"
    assert secrets(container["env"]) >= {"SCYLLA_PASSWORD", "CHAT_WEBHOOK"}


def test_the_spark_operators_application_has_the_fields_that_it_wants():
    application = yaml.safe_load((EXAMPLES / "spark-operator.yaml").read_text("utf-8"))
    assert application["apiVersion"] == "sparkoperator.k8s.io/v1beta2"
    assert (application["kind"], application["spec"]["concurrencyPolicy"]) == ("ScheduledSparkApplication", "Forbid")
    template = application["spec"]["template"]
    assert (template["type"], template["mode"], template["restartPolicy"]) == ("Python", "cluster", {"type": "Never"})
    step = Path(template["mainApplicationFile"].removeprefix("local://"))
    assert (ROOT / "jobs" / step.name).exists()
    assert parsed(["embedshift", step.stem, *template["arguments"]])["when"] == "22:00-06:00"
    for part in ("driver", "executor"):
        assert secrets(template[part]["env"]) == {"SCYLLA_USERNAME", "SCYLLA_PASSWORD"}
        assert {each["name"] for each in template[part]["volumeMounts"]} == {
            each["name"] for each in template["volumes"]
        }


def secrets(environment: list[dict[str, Any]]) -> set[str]:
    return {each["name"] for each in environment if "secretKeyRef" in each.get("valueFrom", {})}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_the_pages_is_taken(page):
    text = page.read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]
    lines = [line for line in lines if line and line[0] == "embedshift"]
    assert lines
    for line in lines:
        parsed(line)


def test_every_spark_job_submits_the_command_of_its_own_name():
    for path in ROOT.glob("jobs/*.py"):
        assert re.findall(r'^entry\("([a-z]+)"\)$', path.read_text("utf-8"), re.MULTILINE) == [path.stem]
        assert len(path.read_text("utf-8").splitlines()) <= 14
    assert {path.stem for path in ROOT.glob("jobs/*.py")} >= {
        "load",
        "sync",
        "validate",
        "cutover",
        "rollback",
        "migrate",
    }


def test_every_step_has_its_target_and_its_line_in_make_help():
    steps = {path.stem for path in ROOT.glob("embedshift/steps/*.py")} - {
        "__init__",
        "context",
        "cutover_trigger",
        "proof",
        "row_expiry",
        "service_cost",
        "twin",
    }
    steps |= {"audit", "report", "reindex", "shadow", "status"}
    assert {"upgrade", "migrate", "prepare", "load", "cutover", "retire", "shadow", "reindex"} <= steps

    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout
    helped = {line.split()[0]: line for line in told.splitlines() if line.strip()}
    assert steps - set(helped) == set()
    made = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", *sorted(steps), "CONFIG=my.yaml", "ARGS=--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert {step for step in steps if f"embedshift {step} --config my.yaml --json" not in made} == set()
