"""Each check that can fail has a remedy, in the program and in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from embedshift.validation.remedies import REMEDIES, remedies

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation.md"


def test_the_checks_of_the_page_are_those_with_a_remedy() -> None:
    checks = PAGE.read_text("utf-8").partition("## Vector and digest")[0]
    named = re.findall(r"^\| `(\w+)`", checks, re.MULTILINE)
    assert set(named) == REMEDIES.keys()


def test_a_remedy_of_several_checks_is_said_once() -> None:
    assert remedies(["unit_norm", "mixed", "a check of another version"]) == REMEDIES["mixed"]
