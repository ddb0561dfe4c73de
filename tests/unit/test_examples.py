"""What users copy works: settings files, compose.yaml, links, and a reason for each dependency."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from embedshift.settings import load_settings

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


def _texts_of_the_code() -> list[str]:
    """Every text that the program may print, with … in place of what it fills in."""
    texts = []
    for module in (ROOT / "embedshift").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_compose_names_its_services_and_their_ports():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    services = compose["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    volumes = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}

    assert {"cassandra", "scylla", "spark-master", "spark-worker"} <= set(services)
    assert all(service["image"] for service in services.values())
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    assert {name for name in volumes if not name.startswith(".")} == set(compose["volumes"])
    assert {name for service in services.values() for name in service.get("depends_on", ())} <= set(services)


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


def test_every_error_line_of_the_troubleshooting_page_is_of_the_code():
    rows = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    known = _texts_of_the_code()
    pieces = {piece.strip() for row in rows for piece in re.split(r"…|: |; ", row) if piece.strip(" ()?,'=")}

    assert len(rows) >= 15
    assert {piece for piece in pieces if not any(piece in text for text in known)} == set()
