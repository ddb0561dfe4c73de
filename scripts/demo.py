"""The demo: import a small corpus, migrate it to a better model, ask the same question before and after."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console as RichConsole
from rich.table import Table

from embedshift.articles.search import Found, search
from embedshift.catalog.alias import get_alias
from embedshift.errors import EmbedshiftError
from embedshift.operations.import_file import import_articles
from embedshift.settings import Settings, load_settings
from embedshift.steps.context import StepContext
from embedshift.steps.migrate import migrate
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.telemetry.console import Console
from embedshift.telemetry.terminal import own_terminal, stderr

CORPUS = Path(__file__).resolve().parent.parent / "embedshift" / "data" / "demo" / "articles.jsonl"
QUESTION = "my windows drip in the morning"


def _fresh(settings: Settings) -> None:
    """Remove the store of an earlier demo, which is a file of its own."""
    if settings.store.path is not None:
        for each in settings.store.path.parent.glob(f"{settings.store.path.stem}*"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def _ask(store: Store, settings: Settings) -> list[Found]:
    return search(store, get_alias(store, settings.alias), QUESTION, 3)


def _demo(settings: Settings, store: Store, out: RichConsole) -> None:
    console = Console()
    started = time.monotonic()
    console.title("import")
    imported = import_articles(settings, store, CORPUS)
    console.say(f"imported {imported.rows} articles into {settings.source.table}")
    before, alias_before = _ask(store, settings), get_alias(store, settings.alias)
    result = migrate(StepContext("migrate", settings, store, console)).plain()
    after, alias_after = _ask(store, settings), get_alias(store, settings.alias)
    proof, load = result["steps"]["validate"], result["steps"]["load"]
    changed = Table("", "before", "after", title="What changed", title_justify="left")
    for row in (
        ("alias → table", alias_before.target.table, alias_after.target.table),
        ("model", alias_before.target.model.name, alias_after.target.model.name),
        ("dimension", str(alias_before.target.model.dimension), str(alias_after.target.model.dimension)),
        ("rows", f"{proof['counts']['source_rows']}", f"{proof['counts']['target_rows']}"),
        ("nDCG@10", *(f"{proof['relevance'][side]['ndcg@10']:.4f}" for side in ("old", "new"))),
        ("recall@10", *(f"{proof['relevance'][side]['recall@10']:.4f}" for side in ("old", "new"))),
        ("index recall@10", "", f"{proof['recall@10']:.4f}"),
        ("load", "", f"{load['seconds']:.1f} s"),
        ("all steps", "", f"{time.monotonic() - started:.1f} s"),
    ):
        changed.add_row(*row)
    out.print(changed)
    asked = Table("", "before the cutover", "after the cutover", title=f"“{QUESTION}”", title_justify="left")
    for place, (old, new) in enumerate(zip(before, after, strict=True), 1):
        asked.add_row(str(place), f"{old.title} ({old.score:.2f})", f"{new.title} ({new.score:.2f})")
    out.print(asked)


def main() -> int:
    """Run the demo; an expected failure is printed as one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config = parser.parse_args().config
    with own_terminal():
        return _run(config)


def _run(config: Path) -> int:
    try:
        settings = load_settings(config)
        _fresh(settings)
        store = open_store(settings.store)
        try:
            store.create_keyspaces()
            if store.exists(settings.source.table):
                print(f"the demo has already run on this cluster: embedshift status --config {config}")
                return 0
            _demo(settings, store, RichConsole())
        finally:
            store.close()
    except EmbedshiftError as error:
        print(f"demo: {error}", file=stderr())
        return error.exit_code
    except KeyboardInterrupt:
        print(f"demo: interrupted: embedshift migrate --config {config} continues where it stopped", file=stderr())
        return 130
    print(f'next: embedshift search "QUESTION" --config {config}; embedshift rollback --config {config}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
