"""Read settings: a file and overrides become frozen models, or one error that names every fault."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from embedshift.errors import SettingsError
from embedshift.settings.root import Settings
from embedshift.settings.tables import ModelSettings

#: Keys of earlier versions, and their present names.
RENAMED = {"validation.embedded_again": "validation.reembed_sample"}


def load_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a settings file. Relative paths in it are relative to the present directory, as in a shell.

    Args:
        path: a YAML file.
        overrides: ``key.path=value`` each; the value is read as YAML, or as plain text if it is not YAML.

    Raises:
        SettingsError: the file cannot be read, or is wrong: every fault is named.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read the settings file {path} ({error.strerror})", hint="name one with --config"
        ) from error
    except yaml.MarkedYAMLError as error:
        # The error's whole text would quote the line, which may hold an address with a token.
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path} is not YAML: line {line}, {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"{path} contains no settings", hint="start from one of the files in configs/")
    for override in overrides:
        _apply(tree, override)
    return parse_settings(tree, where=str(path))


def parse_settings(tree: Mapping[str, Any], *, where: str = "the settings") -> Settings:
    """Settings from a tree of plain values. Raises SettingsError that names every fault."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(_explain(fault) for fault in error.errors())
        raise SettingsError(f"{where}: {faults}") from None


def parse_model(tree: Mapping[str, Any], *, where: str) -> ModelSettings:
    """The settings of one model, as ``target.model`` has them. Raises SettingsError that names every fault."""
    try:
        return ModelSettings.model_validate(tree)
    except ValidationError as error:
        at = ("target", "model")
        faults = "; ".join(_explain({**fault, "loc": (*at, *fault["loc"])}) for fault in error.errors())
        raise SettingsError(f"{where}: {faults}") from None


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise SettingsError(f"--set {override} is not of the form key.path=value")
    *parents, leaf = path.strip().split(".")
    for parent in parents:
        below = tree.get(parent)
        if below is None:
            below = tree[parent] = {}
        if not isinstance(below, dict):
            raise SettingsError(f"--set {override}: {parent} is a value and has no further keys")
        tree = below
    try:
        tree[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        tree[leaf] = text  # such as {title}. {content}, which would need quotes in a file


def _explain(fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    name = ".".join(path) or "the file"
    if fault["type"] == "extra_forbidden":
        if name in RENAMED:
            return f"unknown key {name}; it is now called {RENAMED[name]}"
        known = known_keys(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {name}; {advice}"
    if fault["type"] == "missing":
        return f"{name} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}"


def known_keys(path: Sequence[str]) -> list[str]:
    """The keys that the settings have at a path, such as ``("target", "index")``; none if there is no such part."""
    schema = Settings.model_json_schema()
    node: dict[str, Any] = schema
    for part in path:
        node = _resolve(schema, node.get("properties", {}).get(part, {}))
    return list(node.get("properties", {}))


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].rsplit("/", 1)[-1]]
            return found
    return node
