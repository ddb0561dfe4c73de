"""What users copy works: settings files, compose.yaml, links, and a reason for each dependency."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from jobs.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_broken(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return not target.exists() or bool(anchor and anchor not in _anchors(target))


def test_compose_names_its_services():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]

    assert set(services) == {"cassandra", "scylla", "spark-master", "spark-worker"}
    assert all(service["image"] for service in services.values())


@pytest.mark.parametrize("path", _CONFIGS, ids=_names(_CONFIGS))
def test_every_settings_file_is_valid(path):
    assert load_settings(path).alias


@pytest.mark.parametrize("page", _PAGES, ids=_names(_PAGES))
def test_every_relative_link_leads_somewhere(page):
    links = [link for link in _LINK.findall(_prose(page)) if not re.match(r"[a-z]+:", link)]

    assert [link for link in links if _is_broken(page, link)] == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for group in project["optional-dependencies"].values() for each in group),
    ]
    names = {re.split(r"[<>=!~\[; ]", each)[0] for each in wanted}
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")

    assert {name for name in names if not re.search(rf"^\| `?{re.escape(name)}`? \|", reasons, re.MULTILINE)} == set()
