"""Every command that a page tells people to type is one: its words and its options are known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from embedshift.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FILES = {path.stem for path in (ROOT / "jobs").glob("*.py")}


def _typed(page: Path) -> Iterator[list[str]]:
    """The words after ``embedshift`` of every line in a block for the shell; ``jobs/load.py`` is ``load``."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for at, word in enumerate(words):
                script = re.search(r"(?:^|/)jobs/(\w+)\.py$", word)
                if word in ("embedshift", ".venv/bin/embedshift"):
                    yield words[at + 1 :]
                elif script and script[1] in _FILES:
                    yield [script[1], *words[at + 1 :]]


def _unknown(words: list[str]) -> list[str]:
    """Words that are no command, and options that the command has not."""
    command: Any = typer.main.get_command(app)
    rest = [word for word in words if not re.match(r"-\w", word)]  # short options have a long one
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        if word.isupper():  # STEP stands for any
            return []
        if word not in command.commands:
            return [word]
        command = command.commands[word]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    return [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", _PAGES, ids=[str(page.relative_to(ROOT)) for page in _PAGES])
def test_every_command_to_type_is_known(page):
    assert {" ".join(words): unknown for words in _typed(page) if (unknown := _unknown(words))} == {}


def test_commands_are_found_in_the_pages():
    assert sum(len(list(_typed(page))) for page in _PAGES) > 60
