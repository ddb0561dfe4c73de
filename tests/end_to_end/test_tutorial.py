"""The tutorial, typed from its first block to its last on a real Cassandra, with models that need no network."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from embedshift.cli.app import main
from embedshift.embedding.packaged import load_packaged
from scripts.run_cassandra import CassandraCluster

ROOT = Path(__file__).parents[2]
SMALL = "package:all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def large_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 1024 dimensions: the small one, turned into a larger space without a change of any angle."""
    folder = tmp_path_factory.mktemp("large") / "model"
    turned, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((1024, 384)))
    dense = Dense(384, 1024, bias=False, activation_function=torch.nn.Identity())
    dense.linear.weight.data = torch.tensor(turned, dtype=torch.float32)
    small = load_packaged(SMALL, "cpu")
    SentenceTransformer(modules=[*small, dense, Normalize()]).save(str(folder))
    return folder


class Typist:
    """Does what the blocks say, in a folder of its own."""

    def __init__(self, folder: Path, cluster: CassandraCluster, large: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._folder, self._cluster, self._large, self._capfd = folder, cluster, large, capfd
        self.said: list[tuple[str, str]] = []

    def type(self, kind: str, block: str) -> None:
        {"yaml": self._settings, "json": self._file, "sh": self._commands, "python": self._program}[kind](block)

    def _settings(self, block: str) -> None:
        path = self._folder / "news.yaml"
        tree: dict[str, Any] = yaml.safe_load(path.read_text()) if path.exists() else {}
        tree |= yaml.safe_load(block)
        tree["store"] |= {"port": self._cluster.port, "local_dc": self._cluster.datacenter}
        tree["store"]["hosts"] = list(self._cluster.hosts)
        tree["source"]["model"]["name"] = SMALL
        if "model" in tree["target"]:
            tree["target"]["model"]["name"] = str(self._large)
        tree |= {"cutover": {"client_cache": "200ms"}, "spark": {"master": "local[2]"}}
        path.write_text(yaml.safe_dump(tree))

    def _file(self, block: str) -> None:
        name, _, content = block.partition("\n")
        (self._folder / name.removeprefix("# ")).write_text(content)

    def _commands(self, block: str) -> None:
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "embedshift"
            self._capfd.readouterr()
            code = main(words[1:])
            out, err = self._capfd.readouterr()
            assert code == 0, f"{line}: {err}"
            self.said.append((line, out))

    def _program(self, block: str) -> None:
        self._capfd.readouterr()
        exec(compile(block, "tutorial", "exec"), {})
        self.said.append(("the program", self._capfd.readouterr()[0]))

    def answers(self, command: str) -> list[str]:
        return [out for line, out in self.said if command in line]


def test_the_tutorial_does_what_it_says(
    tmp_path: Path,
    cassandra: CassandraCluster,
    large_model: Path,
    spark: object,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    typist = Typist(tmp_path, cassandra, large_model, capfd)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "tutorial.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    for kind, block in blocks:
        typist.type(kind, block)

    before, hidden, after = typist.answers("embedshift search")
    assert before.splitlines()[0].endswith("Tides")
    assert "from articles by" in before
    assert "Tides" not in hidden
    assert after.splitlines()[0].endswith("Tides")
    assert "from articles_v2 by" in after
    assert "Salt and ice" in typist.answers("articles get")[0]
    assert typist.answers("the program")[0].startswith("Tides ")
    assert {"articles", "articles_v2"} <= set(re.findall(r"\barticles(?:_v2)?\b", typist.answers("erase")[0]))
