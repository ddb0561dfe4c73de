"""The house: what is installed, what imports what, and how little a first look costs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import embedshift

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "embedshift"
#: Libraries that take a while to import, or that a look at the help needs for nothing.
HEAVY = {"numpy", "pyarrow", "pandas", "rich", "pyspark", "torch", "sentence_transformers", "cassandra", "usearch"}


def _modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def _imported(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports anywhere, also inside functions, but not for types alone."""
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in known else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_no_module_imports_itself_in_a_circle():
    known = _modules()
    graph = {
        name: {each for each in _imported(ast.parse(path.read_text("utf-8")), known) if each in known and each != name}
        # The package itself names its public classes, and loads them when they are first used.
        - {"embedshift"}
        for name, path in known.items()
    }
    assert len(graph) > 150
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_nothing_imports_the_spark_jobs():
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("embedshift", "jobs", "tests", "scripts", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s*(from|import) jobs\b", line)
    ]
    assert found == []
    assert not (ROOT / "jobs" / "__init__.py").exists()
    assert [path for path in PACKAGE.rglob("*") if path.name == "jobs"] == []


def test_the_public_names_are_there_and_typed():
    for name in embedshift.__all__:
        assert getattr(embedshift, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Article'"):
        _ = embedshift.Article  # type: ignore[attr-defined]


def _loaded_by(code: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(each.partition('.')[0] for each in sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["cutover", "--help"], ["articles", "--help"], ["--version"]])
def test_the_help_imports_nothing_heavy(arguments: list[str]):
    loaded = _loaded_by(f"from embedshift.cli.app import main; assert main({arguments!r}) == 0")
    assert loaded & HEAVY == set()
    # Typer itself checks the options of a command with pydantic.
    assert arguments != ["--help"] or "pydantic" not in loaded


def test_the_package_itself_imports_nothing_heavy():
    assert _loaded_by("import embedshift") & HEAVY == set()


#: The only private names that tests use, and why there is no public way.
UNAVOIDABLE = {
    "_exit": "os's own; what a kill looks like from inside",
    "_is_amx_tile_supported": "torch's own, which says what the processor has",
    "_save": "a builder of an index that is killed at its last step; an index that lacks vectors",
    "_replica": "an index that lacks vectors",
    "_indexes": "an index that lacks vectors",
    "_ended": "a lease that is renewed no more, in a process that lives on",
    "_renewing": "a lease that is renewed no more, in a process that lives on",
}


def _private(tree: ast.Module) -> Iterator[str]:
    """The private names of other classes and modules that a test uses, imports, or names in a text for a patch."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-zA-Z]\w*", node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("embedshift"):
            yield from (name.name for name in node.names if re.match(r"_[a-zA-Z]", name.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^embedshift\.[\w.]+\.(_[a-zA-Z]\w*)$", node.value)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("setattr", "object")
        ):
            names = [each.value for each in node.args[1:2] if isinstance(each, ast.Constant)]
            yield from (str(name) for name in names if re.match(r"_[a-zA-Z]", str(name)))


def test_tests_start_from_the_outside():
    used = {
        name: str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for name in _private(ast.parse(path.read_text("utf-8")))
    }
    assert {name: where for name, where in used.items() if name not in UNAVOIDABLE} == {}
    assert set(UNAVOIDABLE) <= set(used), "no longer needed"
