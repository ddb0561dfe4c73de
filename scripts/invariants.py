"""Write the table of docs/invariants.md from the tests: which of them defends which invariant. --check only compares.

A test says so in its docstring, and a file in its first one: ``Invariant 4``, ``Defends invariants 1, 2 and 3``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "invariants.md"
_BEGIN, _END = "<!-- Made from the tests by scripts/invariants.py. -->", "<!-- End of what is made from the tests. -->"
_NAMED = re.compile(r"\binvariants? (\d+(?:(?:, | and | to )\d+)*)", re.IGNORECASE)
_STATED = re.compile(r"^(\d+)\. \*\*(.+?)\*\*", re.MULTILINE)


def numbers_in(text: str) -> set[int]:
    """The invariants that a docstring names: ``invariants 1, 2 and 5 to 7``."""
    found: set[int] = set()
    for named in _NAMED.findall(text):
        for part in re.split(r", | and ", named):
            first, _, last = part.partition(" to ")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def defenders(folder: Path = ROOT / "tests") -> Iterator[tuple[int, str]]:
    """Each invariant with a file, or a test of a file, that defends it."""
    for path in sorted(folder.rglob("test_*.py")):
        tree, name = ast.parse(path.read_text("utf-8")), path.relative_to(folder.parent).as_posix()
        for number in numbers_in(ast.get_docstring(tree) or ""):
            yield number, name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in numbers_in(ast.get_docstring(node) or ""):
                    yield number, f"{name}::{node.name}"


def stated(page: str) -> dict[int, str]:
    """The invariants of the page: number and name."""
    return {int(number): name.rstrip(".") for number, name in _STATED.findall(page)}


def table(page: str) -> str:
    """The table for the page."""
    by_number: dict[int, list[str]] = {number: [] for number in stated(page)}
    for number, name in defenders():
        by_number[number].append(f"`{name}`")
    lines = ["| invariant | defended by |", "|---|---|"]
    names = stated(page)
    lines += [f"| {at}. {names[at]} | {'<br>'.join(by_number[at])} |" for at in sorted(names)]
    return "\n".join(lines)


def made(page: str) -> str:
    """The page with a new table."""
    head, _, rest = page.partition(_BEGIN)
    return f"{head}{_BEGIN}\n\n{table(page)}\n\n{_END}{rest.partition(_END)[2]}"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or compare it."""
    page = PAGE.read_text("utf-8")
    new = made(page)
    if "--check" in arguments:
        if new != page:
            print("docs/invariants.md is out of date: run make reference")
        return int(new != page)
    PAGE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
