"""The documentation as a site: built without a warning, whole, and with nothing that is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What a browser fetches by itself; a link that a reader may follow is something else.
_FETCHED = re.compile(r"""<(?:script|img|source|iframe)[^>]*\ssrc=["']?([^"'\s>]+)|<link[^>]*\shref=["']?([^"'\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it: strictly, so that a warning is an error."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}

    assert {page for page in pages if not (site / page).is_file()} == set()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = {
        source or link for page in site.rglob("*.html") for source, link in _FETCHED.findall(page.read_text("utf-8"))
    }

    assert {each for each in fetched if each.startswith(("http:", "https:", "//"))} == set()


def test_the_pictures_are_those_that_are_drawn() -> None:
    from scripts import pictures

    assert pictures.stale() == [], "run make reference"
