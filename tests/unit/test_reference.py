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


def test_every_column_of_the_catalog_has_its_sentence_and_no_sentence_is_left_over():
    reference = _reference()
    columns = [(table.name, name) for table in reference.tables.ALL for name in table.columns]
    used = {own if (own := f"{table}.{name}") in reference.COLUMNS else name for table, name in columns}

    assert used == set(reference.COLUMNS)
    assert {table for table, _ in columns} == set(reference.CATALOG)


def test_the_picture_of_the_states_is_of_what_may_run():
    reference = _reference()
    moves = {(before, step.split()[0]) for before, step, _ in reference.MOVES if step != reference.NEXT_CUTOVER}
    may = {(state, step) for step, states in reference.ALLOWED.items() for state in states}

    assert moves <= may
    assert {step for _, step in moves} == set(reference.ALLOWED)
    assert {after for _, _, after in reference.MOVES} == set(reference.NEXT) - {"preparing"}


def test_every_setting_and_every_command_has_its_line():
    reference = _reference()
    settings, commands = reference.settings_page(), reference.cli_page()

    for key in ("alias", "store.tls.check_hostname", "target.model.revision", "target.index.rescoring", "spark.conf"):
        assert f"| `{key}` |" in settings
    for command in ("migrate", "rollback", "config check", "schema apply", "import", "search"):
        assert f"## embedshift {command}" in commands
