"""Is a new model worth it? A sample of the live table, embedded with each candidate, answers questions in memory.

Nothing is written to any store.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from rich.table import Table as RichTable

from embedshift.catalog.alias import find_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.vector_table import VectorTable, proven_model, reached
from embedshift.embedding import Model, load_model
from embedshift.errors import SettingsError, UnavailableError, UsageError
from embedshift.operations.trial_sample import KINDS, Asked, Sample, asked_of, draw
from embedshift.reporting.trial import trial_page
from embedshift.settings import ModelSettings, Settings, parse_model
from embedshift.steps.context import StepContext
from embedshift.steps.service_cost import ServiceCost
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.stores.model import Index, Table
from embedshift.times import now_us
from embedshift.validation.pool import TRIAL_MEASURES, detectable, judge_pool
from embedshift.validation.questions import read_questions
from embedshift.validation.relevance import paired_difference
from embedshift.validation.truncation import cut_by

#: Texts embedded at once; their vectors are kept, the texts of the next ones are not made yet.
_TEXTS_AT_ONCE = 256
#: What a trial may cost without being asked.
FREE_COST = 1.0
Agree = Callable[[str], bool]


def trial(
    context: StepContext,
    *,
    models: Sequence[str] = (),
    sample: int = 5000,
    questions: Path | None = None,
    seed: int | None = None,
    output: Path | None = None,
    agree: Agree = lambda _: False,
) -> dict[str, Any]:
    """Compare candidates with the live model, by questions on a sample of the live table.

    Args:
        context: what the operation works with.
        models: names, folders or YAML files of candidates; none: ``target.model`` of the settings.
        sample: articles that are drawn, beside the labelled ones.
        questions: labelled questions; None: ``validation.questions`` of the settings, or titles if there are none.
        seed: the same seed draws the same sample; None: a random one, which is printed.
        output: the page; None: ``trial-ALIAS.html``. A JSON file of the same name lies beside it.
        agree: is asked before a trial that costs more than ``FREE_COST``.

    Raises:
        UsageError: no candidate is named, or the cost was not agreed to.
        InputError: the questions cannot be read, or the table has no text.
        ModelUnavailable: a model cannot be loaded, or its service does not answer.
    """
    settings, store, console = context.settings, context.store, context.console
    candidates = [candidate(settings, name) for name in models] or _default(settings)
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    path = questions or settings.validation.questions
    labelled = read_questions(path) if path else []
    live, table = _live(settings, store)
    drawn = draw(store, live, table, labelled, sample, seed)
    asked = asked_of(labelled, drawn, live)
    console.say(
        f"{table.name}: {drawn.labelled:,} labelled articles and {len(drawn.texts) - drawn.labelled:,} drawn of about "
        f"{drawn.table_rows:,}; {len(asked.questions):,} {KINDS[asked.kind]}; seed {seed}"
    )
    if asked.left_out:
        console.say(
            f"{asked.left_out} questions are left out: the table has none of their articles, or they have where"
        )
    _check_cost(candidates, drawn, asked, console.say, agree)
    try:
        result = _result(context, live, drawn, asked, candidates, seed)
    except KeyboardInterrupt:
        console.say(f"nothing is kept of this trial; --seed {seed} draws the same sample again")
        raise
    files = _write(result, output or Path(f"trial-{settings.alias}.html"))
    _say(result, context)
    console.say(f"page: {files}, figures: {files.with_suffix('.json')}")
    return {**result, "page": str(files), "next": _next(result)}


def _result(
    context: StepContext,
    live: VectorTable,
    drawn: Sample,
    asked: Asked,
    candidates: Sequence[ModelSettings],
    seed: int,
) -> dict[str, Any]:
    """Embed and judge: the record of the trial."""
    settings, store, console = context.settings, context.store, context.console
    metric = live.index_options.metric
    judge = partial(judge_pool, drawn.pool, questions=asked.questions, metric=metric)
    old = proven_model(store, live)
    before = judge(vectors=matrix(drawn.rows.column(live.vector)), asked=_questions(old, asked))
    tried = []
    for each in candidates:
        with console.watching(each.name, len(drawn.texts)) as watch:
            tried.append(_Tried.of(each, drawn, asked, watch.count))
    return {
        "alias": settings.alias,
        "table": live.table,
        "rows": drawn.table_rows,
        "made_us": now_us(),
        "seed": seed,
        "sample": {
            "labelled": drawn.labelled,
            "drawn": len(drawn.texts) - drawn.labelled,
            "weight": round(drawn.pool.weight, 3),
        },
        "questions": {"kind": asked.kind, "number": len(asked.questions), "left_out": asked.left_out},
        "live": {
            "model": live.model.name,
            "dimension": live.model.dimension,
            "bytes_per_row": _bytes_a_row(settings, store, live.model.dimension, drawn.table_rows),
            **{name: float(values.mean()) for name, values in before.items()},
        },
        "candidates": [
            _compared(settings, store, each, judge(vectors=each.vectors, asked=each.asked), before, drawn, seed)
            for each in tried
        ],
    }


def candidate(settings: Settings, name: str) -> ModelSettings:
    """A candidate: a model that the settings have under that name, a YAML file of ``target.model``, or a plain name.

    Raises:
        SettingsError: the file is no model.
    """
    for known in (settings.target.model, settings.source.model):
        if known is not None and known.name == name:
            return known
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return ModelSettings(name=name)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read {path} ({error.strerror})", hint="name a model, or a YAML file of one"
        ) from error
    except yaml.YAMLError:
        raise SettingsError(f"{path} is not YAML") from None
    # As in the settings, or by itself.
    for key in ("target", "model"):
        if isinstance(tree, dict) and isinstance(tree.get(key), dict):
            tree = tree[key]
    if not isinstance(tree, dict):
        raise SettingsError(f"{path} is no model", hint="write the keys of target.model, such as name and service")
    return parse_model(tree, where=str(path))


def _default(settings: Settings) -> list[ModelSettings]:
    if settings.target.model is None or settings.target.model == settings.source.model:
        raise UsageError("no candidate is named", hint="add --model NAME, once for each, or set target.model")
    return [settings.target.model]


def _live(settings: Settings, store: Store) -> tuple[VectorTable, Table]:
    alias = find_alias(store, settings.alias)
    if alias is not None:
        live = reached(alias.target, settings)
        return live, store.describe(live.table)
    table = store.describe(settings.source.table)
    return live_vector_table(settings, store, table, keep=False), table


def _questions(model: Model, asked: Asked) -> NDArray[np.float32]:
    return np.array([model.embed_question(each.text) for each in asked.questions], np.float32)


def _check_cost(
    candidates: Sequence[ModelSettings], drawn: Sample, asked: Asked, say: Callable[[str], None], agree: Agree
) -> None:
    """Say what services will get and cost, before the first request. Raises UsageError if it is not agreed to."""
    size = sum(len(text.encode()) for text in drawn.texts) + sum(len(each.text.encode()) for each in asked.questions)
    number = len(drawn.texts) + len(asked.questions)
    total = 0.0
    for each in candidates:
        if each.service is not None:
            cost = ServiceCost.of(each, number, size / number)
            price = "its price is unknown" if cost.cost is None else f"cost about {cost.cost:,.4g}"
            say(f"{each.service.url} gets {number:,} articles and questions, about {cost.tokens:,} tokens; {price}")
            total += cost.cost or 0.0
    if total > FREE_COST and not agree(f"This trial costs about {total:,.4g}. Go on?"):
        raise UsageError(
            f"the trial would cost about {total:,.4g}",
            hint="add --yes, draw fewer with --sample, or ask fewer questions",
        )


# A candidate.


@dataclass(frozen=True, slots=True)
class _Tried:
    """What a candidate made of the sample."""

    settings: ModelSettings
    vectors: NDArray[np.float32]
    asked: NDArray[np.float32]
    faults: int
    cut: int | None
    texts_per_s: float

    @classmethod
    def of(cls, settings: ModelSettings, drawn: Sample, asked: Asked, count: Callable[[int], object]) -> _Tried:
        """Embed the sample and the questions."""
        model = load_model(settings)
        count_cut = cut_by(model)
        model.embed(drawn.texts[:8])  # the first batch of a process is slower
        parts, faults, cut, seconds = [], 0, 0, 0.0
        for texts in _batches(drawn.texts):
            started = time.perf_counter()
            embedded = model.embed(texts)
            seconds += time.perf_counter() - started
            parts.append(embedded.vectors)
            faults += len(embedded.faults)
            cut += count_cut(pa.array(texts)) if count_cut else 0
            count(len(texts))
        return cls(
            settings,
            np.concatenate(parts),
            _questions(model, asked),
            faults,
            cut if count_cut else None,
            len(drawn.texts) / max(seconds, 1e-6),
        )


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[at : at + _TEXTS_AT_ONCE] for at in range(0, len(texts), _TEXTS_AT_ONCE))


def _compared(
    settings: Settings,
    store: Store,
    tried: _Tried,
    values: dict[str, NDArray[np.float64]],
    before: dict[str, NDArray[np.float64]],
    drawn: Sample,
    seed: int,
) -> dict[str, Any]:
    confidence = settings.validation.confidence
    differences = {
        name: paired_difference(before[name], values[name], seed=seed, confidence=confidence) for name in TRIAL_MEASURES
    }
    decides = differences["ndcg@10"]
    bytes_a_text = sum(len(text.encode()) for text in drawn.texts) / len(drawn.texts)
    dimension = tried.vectors.shape[1]
    least = detectable(values["ndcg@10"] - before["ndcg@10"])
    return {
        "model": tried.settings.name,
        "service": tried.settings.service.url if tried.settings.service else None,
        "dimension": dimension,
        "bytes_per_row": _bytes_a_row(settings, store, dimension, drawn.table_rows),
        "cut": None if tried.cut is None else tried.cut / len(drawn.texts),
        "faults": tried.faults,
        "texts_per_s": tried.texts_per_s,
        "hours": drawn.table_rows / tried.texts_per_s / 3600,
        "cost": ServiceCost.of(tried.settings, drawn.table_rows, bytes_a_text).cost if tried.settings.service else None,
        **{name: float(each.mean()) for name, each in values.items()},
        "differences": {name: asdict(each) for name, each in differences.items()},
        "verdict": "better" if decides.low > 0 else "worse" if decides.high < 0 else "no difference seen",
        "detectable": None if math.isinf(least) else least,
    }


def _bytes_a_row(settings: Settings, store: Store, dimension: int, rows: int) -> int:
    """Bytes of a row's vector in table and index, in each replica."""
    index = Index("", "", "", dimension, settings.target.index)
    return round(dimension * 4 + store.index_size(index, max(rows, 1)).bytes / max(rows, 1))


# What is said.


def _say(result: dict[str, Any], context: StepContext) -> None:
    live, candidates = result["live"], result["candidates"]
    relevance = _table("nDCG@10", "recall", "MRR", "nDCG@10 against live")
    relevance.add_row(f"{live['model']} (live)", *_figures(live), "")
    cost = _table("dimensions", "bytes/row", "cut", "texts/s", "hours", "price")
    cost.add_row(f"{live['model']} (live)", str(live["dimension"]), f"{live['bytes_per_row']:,}")
    for each in candidates:
        change = each["differences"]["ndcg@10"]
        interval = f"{change['mean']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})"
        relevance.add_row(each["model"], *_figures(each), interval)
        cost.add_row(
            each["model"],
            str(each["dimension"]),
            f"{each['bytes_per_row']:,}",
            "?" if each["cut"] is None else f"{each['cut']:.1%}",
            f"{each['texts_per_s']:,.0f}",
            f"{each['hours']:,.1f}" if each["hours"] >= 0.05 else "<0.1",
            "" if each["cost"] is None else f"{each['cost']:,.4g}",
        )
    for table in (relevance, cost):
        context.console.rich.print(table)
    for each in candidates:
        context.console.say(in_words(each, result["questions"]["number"]))


def _table(*columns: str) -> RichTable:
    table = RichTable(box=None, pad_edge=False)
    table.add_column("model", overflow="fold", max_width=34)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figures(side: dict[str, Any]) -> list[str]:
    return [f"{side[name]:.3f}" for name in TRIAL_MEASURES]


def in_words(each: dict[str, Any], questions: int) -> str:
    """The verdict on a candidate, and what so many questions could have shown at all."""
    least = each["detectable"]
    seen = "these questions cannot tell them apart"
    if least is not None:
        seen = f"{questions} questions show a difference from {least:.3f} on, in 80 of 100 trials"
    said = {"better": "answers better than", "worse": "answers worse than"}.get(each["verdict"])
    verdict = f"{said} the live model" if said else "no difference to the live model was seen"
    return f"{each['model']}: {verdict} ({seen})"


def _next(result: dict[str, Any]) -> str:
    better = [each for each in result["candidates"] if each["verdict"] == "better"]
    return f"embedshift prepare, with target.model {better[0]['model']}" if better else ""


def _write(result: dict[str, Any], path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(trial_page(result), encoding="utf-8", errors="replace")
        path.with_suffix(".json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path} ({error.strerror})", hint="name another file with --output"
        ) from error
    return path
