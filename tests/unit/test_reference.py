"""The reference pages are what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date():
    assert _reference().stale() == [], "run scripts/reference.py"


def test_a_page_that_differs_is_named(tmp_path):
    reference = _reference()
    for name, text in reference.pages().items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "cli.md").write_text("old", "utf-8")
    (tmp_path / "states.md").unlink()

    assert reference.stale(tmp_path) == ["cli.md", "states.md"]


def test_the_commands_are_the_same_on_any_terminal(monkeypatch):
    reference = _reference()
    pages = []
    for width in ("40", "200"):
        monkeypatch.setenv("COLUMNS", width)
        pages.append(reference.cli_page())

    assert pages[0] == pages[1]
