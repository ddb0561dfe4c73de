"""Compare both tables of a migration on a cluster, row by row, without the code of embedshift.

    python scripts/check.py --config FILE [--set key.path=value] [--back] [--vectors 100] [--json]

It shares no code with sync and validation: plain CQL by the driver at QUORUM, digests by xxhash, vectors by
sentence-transformers. From the catalog it reads only the migration's row, which names the model. ``--back`` compares in
the other direction, as after a rollback. Nothing may write meanwhile, and the source must fit in memory. A dead letter
counts as a row that is missing in the target.

Exit codes: 0 nothing differs, 1 something does, 2 the settings do not fit or there is no such migration.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import xxhash
from sentence_transformers import SentenceTransformer

if __name__ == "__main__":
    # Python puts this file's folder on the path, but imports are named from the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from scripts.plain_cql import Plain, Read, quoted

DIGEST = "embedding_digest"
EXAMPLES = 5
#: TTLs are whole seconds, rounded when they are read and again when the copy is written; each table is read at its own
#: moment.
TTL_SLACK_S = 2.0
#: How far a vector may be from a recomputed one, as a share of its length.
VECTOR_SLACK = {"float32": 0.005, "bfloat16": 0.05, "float16": 0.02}


@dataclass
class Found:
    """What a comparison found: how many of each, and a few examples."""

    rows: int = 0
    lost: int = 0
    orphans: int = 0
    columns: int = 0
    times: int = 0
    ttls: int = 0
    digests: int = 0
    vectors: int = 0
    vectors_compared: int = 0
    mixed: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        faults = (self.lost, self.orphans, self.columns, self.times, self.ttls, self.digests, self.vectors, self.mixed)
        return not any(faults)

    def add(self, kind: str, example: str) -> None:
        """Count one difference."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{kind}: {example}")

    def table(self) -> str:
        """The counts, one per line, then the examples."""
        counts = {
            "rows compared": self.rows,
            "lost: only in the source": self.lost,
            "orphans: only in the target": self.orphans,
            "columns that differ": self.columns,
            "write times that differ": self.times,
            "TTLs that differ": self.ttls,
            "digests wrong": self.digests,
            f"vectors wrong of {self.vectors_compared}": self.vectors,
            f"not their digest's of {self.vectors_compared}": self.mixed,
        }
        return "\n".join([*(f"{name:<30}{count:>8}" for name, count in counts.items()), *self.examples])


@dataclass(frozen=True)
class Side:
    """One table of the comparison, as the catalog knows it."""

    table: str
    text: str
    vector: str
    model: Mapping[str, Any]

    @classmethod
    def of(cls, vector_table: str) -> Side:
        """From the vector table's JSON in the migration's row."""
        tree = json.loads(vector_table)
        return cls(tree["table"], tree["text"], tree["vector"], tree["model"])

    def rendered(self, row: Mapping[str, Any]) -> str | None:
        """The text of a row; None if every column of the template is null or blank."""
        pieces = [(literal, name) for literal, name, _, _ in Formatter().parse(self.text)]
        values = [row.get(name) for _, name in pieces if name]
        if all(value is None or (isinstance(value, str) and not value.strip()) for value in values):
            return None
        return "".join(literal + (_plain(row.get(name)) if name else "") for literal, name in pieces)

    def digest(self, text: str | None) -> bytes:
        """XXH3-128 of the text, seeded by the hash of the model's fingerprint."""
        seed = xxhash.xxh3_64_intdigest(self.model["fingerprint"].encode())
        if text is None:
            return xxhash.xxh3_128_digest(b"no text", seed=~seed & (2**64 - 1))
        return xxhash.xxh3_128_digest(text.encode(), seed=seed)

    def vectors(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """The model's own vectors, float32 of shape (n, dimension)."""
        network = _network(self.model)
        made = network.encode_document(
            list(texts),
            prompt=self.model["document_prompt"],
            truncate_dim=self.model.get("truncate_dim"),
            normalize_embeddings=bool(self.model["normalize"]),
            show_progress_bar=False,
        )
        return np.asarray(made, np.float32)


def check(tree: Mapping[str, Any], *, back: bool = False, sample: int = 100) -> Found:
    """Compare the two tables of the migration that a settings file describes.

    Args:
        tree: the settings as read from YAML; the store must be a cluster.
        back: compare the source with the target, as after a rollback.
        sample: how many vectors are computed again, from random rows.

    Raises:
        LookupError: there is no migration into that target.
    """
    with Plain.open(tree["store"]) as plain:
        source, target = _sides(plain, tree)
        if back:
            source, target = target, source
        return _compare(plain, source, target, sample)


def _sides(plain: Plain, tree: Mapping[str, Any]) -> tuple[Side, Side]:
    rows = plain.rows(f"SELECT * FROM {quoted(plain.catalog)}.embedshift_migration")
    fitting = [row for row in rows if (row["alias"], row["target"]) == (tree["alias"], tree["target"]["table"])]
    if not fitting:
        raise LookupError(f"there is no migration into {tree['target']['table']}")
    newest = max(fitting, key=lambda row: int(row["created_us"]))
    return Side.of(newest["source_vector_table"]), Side.of(newest["target_vector_table"])


def _compare(plain: Plain, source: Side, target: Side, sample: int) -> Found:
    found = Found()
    made = {source.vector, target.vector, DIGEST}
    ours = {row.key: row for row in plain.read(source.table, leave_out=made)}
    theirs: dict[tuple[Any, ...], Read] = {}
    for row in plain.read(target.table, leave_out=made, also=DIGEST):
        theirs[row.key] = row
        if row.key not in ours:
            found.add("orphans", f"{target.table} {row.key}")
    for key, row in ours.items():
        found.rows += 1
        copy = theirs.get(key)
        if copy is None:
            found.add("lost", f"{source.table} {key}")
            continue
        _compare_row(found, row, copy)
        digest = copy.values.get(DIGEST)
        if digest is None or target.digest(target.rendered(copy.named)) != bytes(digest)[:16]:
            found.add("digests", f"{target.table} {key}")
    _compare_vectors(plain, found, target, list(theirs.values()), sample)
    return found


def _compare_row(found: Found, row: Read, copy: Read) -> None:
    for name, value in row.values.items():
        where = f"{row.key}.{name}"
        if copy.values[name] != value:
            found.add("columns", f"{where} is {copy.values[name]!r}, not {value!r}")
            continue
        if copy.times[name] != row.times[name]:
            found.add("times", f"{where} was written at {copy.times[name]}, not {row.times[name]}")
        if _ends_otherwise(row, copy, name):
            found.add("ttls", f"{where} has {copy.ttls[name]} s left, not {row.ttls[name]}")


def _ends_otherwise(row: Read, copy: Read, name: str) -> bool:
    ours, theirs = row.ttls[name], copy.ttls[name]
    if not isinstance(ours, int) or not isinstance(theirs, int):
        return (ours is None) != (theirs is None)
    slack_s = TTL_SLACK_S + row.took_s + copy.took_s
    return abs((row.at_s + ours) - (copy.at_s + theirs)) > slack_s


def _compare_vectors(plain: Plain, found: Found, target: Side, rows: Sequence[Read], sample: int) -> None:
    chosen = random.Random(0).sample(rows, min(sample, len(rows)))
    texts = [target.rendered(row.named) for row in chosen]
    told = [text for text in texts if text is not None]
    expected = iter(target.vectors(told) if told else ())
    slack = VECTOR_SLACK.get(str(target.model["precision"]), 0.05)
    for row, text in zip(chosen, texts, strict=True):
        stored = plain.cell(target.table, target.vector, row.named_key)
        found.vectors_compared += 1
        if text is None:
            wrong = stored is not None
        else:
            vector = next(expected)
            wrong = stored is None or bool(
                np.linalg.norm(np.asarray(stored, np.float32) - vector) > slack * np.linalg.norm(vector)
            )
        if wrong:
            found.add("vectors", f"{target.table} {row.key}")
        named = bytes(row.values.get(DIGEST) or b"")[16:]
        if stored is not None and named and named != xxhash.xxh3_64_digest(np.asarray(stored, ">f4").tobytes()):
            found.add("mixed", f"{target.table} {row.key}")


def _plain(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_NETWORKS: dict[str, SentenceTransformer] = {}


def _network(model: Mapping[str, Any]) -> SentenceTransformer:
    name = str(model["name"])
    if name not in _NETWORKS:
        if name.startswith("package:"):
            from embedshift.embedding.packaged import load_packaged

            _NETWORKS[name] = load_packaged(name, "cpu")
        else:
            _NETWORKS[name] = SentenceTransformer(name, revision=model["revision"], device="cpu")
        if model["max_length"] is not None:
            _NETWORKS[name].max_seq_length = int(model["max_length"])
    return _NETWORKS[name]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    from embedshift.errors import SettingsError
    from embedshift.settings import load_settings

    started = time.monotonic()
    try:
        settings = load_settings(options.config, options.set)
        if settings.store.kind != "cql":
            print("check: the store is not a cluster, so there is nothing to compare by CQL", file=sys.stderr)
            return 2
        found = check(settings.model_dump(mode="json"), back=options.back, sample=options.vectors)
    except (SettingsError, LookupError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({**asdict(found), "clean": found.clean, "seconds": round(time.monotonic() - started, 3)}))
    else:
        print(found.table())
    return 0 if found.clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="check.py", description="Compare both tables of a migration, row by row.")
    parser.add_argument("--config", type=Path, required=True, help="the settings file of the migration")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for the steps")
    parser.add_argument("--back", action="store_true", help="compare the source with the target, as after a rollback")
    parser.add_argument("--vectors", type=int, default=100, help="how many vectors to compute again (default: 100)")
    parser.add_argument("--json", action="store_true", help="print the counts as one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
