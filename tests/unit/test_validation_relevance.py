"""Labelled questions, the measures of relevance, the checks and the record."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedshift.errors import InputError
from embedshift.settings import ModelSettings, StoreSettings, ValidationSettings
from embedshift.stores import open_store
from embedshift.stores.model import Column, Hit, Table, write_time
from embedshift.validation.checks import Allowed, Check, checks
from embedshift.validation.content_hash import Content
from embedshift.validation.duplicates import Repeats
from embedshift.validation.exact_knn import Nearest
from embedshift.validation.questions import Question, known_articles, read_questions
from embedshift.validation.recall import Recall
from embedshift.validation.relevance import Relevance, compare, judge, paired_difference, ranked_ids
from embedshift.validation.survey_result import Survey
from embedshift.validation.validation import record

CRANFIELD = Path(__file__).parents[3] / "shared" / "data" / "cranfield"


def test_questions_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(
        '{"id": "q1", "text": "why?", "relevant": {"a": 3, "b": 0}}\n\n{"id": 2, "text": "é", "relevant": {"c": 1}}\n'
    )

    assert read_questions(path) == [Question("q1", "why?", {"a": 3, "b": 0}), Question("2", "é", {"c": 1})]


BROKEN = {
    "{": "it is not JSON",
    "[1]": "it is not a JSON object",
    '{"text": "t", "relevant": {"a": 1}}': "it has no id",
    '{"id": true, "text": "t", "relevant": {"a": 1}}': "it has no id",
    '{"id": "q", "relevant": {"a": 1}}': "it has no text",
    '{"id": "q", "text": " ", "relevant": {"a": 1}}': "it has no text",
    '{"id": "q", "text": "t"}': 'it has no "relevant"',
    '{"id": "q", "text": "t", "relevant": ["a"]}': 'it has no "relevant"',
    '{"id": "q", "text": "t", "relevant": {"a": 1.5}}': "the grade of 'a' is not a whole number",
    '{"id": "q", "text": "t", "relevant": {"a": true}}': "the grade of 'a' is not a whole number",
    '{"id": "q", "text": "t", "relevant": {"a": -1}}': "the grade of 'a' is not a whole number",
    '{"id": "q", "text": "t", "relevant": {}}': "no article",
    '{"id": "q", "text": "t", "relevant": {"a": 0}}': "no article",
    '{"id": "good", "text": "t", "relevant": {"a": 1}}': "was used before",
    '{"id": "q", "text": "\\ud800", "relevant": {"a": 1}}': "surrogates",
    '{"id": "q", "text": "t", "relevant": {"\\ud800": 1}}': "surrogates",
    "[" * 100_000: "it is not JSON",
}


@pytest.mark.parametrize("line", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_line_is_named_by_its_number_and_its_fault(line: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": "good", "text": "t", "relevant": {"a": 1}}\n' + line + "\n")

    with pytest.raises(InputError) as caught:
        read_questions(path)

    assert f"{path}, line 2: " in str(caught.value)
    assert BROKEN[line] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b'{"id": "q", "text": "\xff", "relevant": {"a": 1}}\n')

    with pytest.raises(InputError, match="line 1"):
        read_questions(path)


def test_a_file_that_is_absent_or_has_no_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the questions"):
        read_questions(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match="contains no question"):
        read_questions(tmp_path / "empty.jsonl")


QUESTIONS = [
    Question("q1", "one", {"a": 3, "b": 1}),
    Question("q2", "two", {"c": 2}),
    Question("q3", "three", {"d": 1}),
]


def test_measures_are_those_of_their_definitions() -> None:
    judged = judge(QUESTIONS, {"q1": ["b", "x", "a"], "q2": ["c"], "q3": []})

    ideal = 3 + 1 / math.log2(3)
    assert judged.values["ndcg@10"].tolist() == pytest.approx([(1 + 3 / math.log2(4)) / ideal, 1, 0])
    assert judged.values["recall@10"].tolist() == [1, 1, 0]
    assert judged.values["mrr@10"].tolist() == [1, 1, 0]
    assert judged.values["success@1"].tolist() == [1, 1, 0]
    assert judged.means()["recall@10"] == pytest.approx(2 / 3)


def test_the_order_that_was_shown_is_judged_and_only_its_first_ten() -> None:
    answers = [f"x{at}" for at in range(10)] + ["a", "b"]

    judged = judge(QUESTIONS[:1], {"q1": answers})

    assert all(values.tolist() == [0] for values in judged.values.values())


def test_wins_losses_and_the_questions_that_lost_most_are_told() -> None:
    old = {"q1": ["a", "b"], "q2": ["x", "c"], "q3": ["d"]}
    new = {"q1": ["x", "y"], "q2": ["c"], "q3": ["d"]}

    relevance = compare(QUESTIONS, old, new)

    assert relevance is not None
    change = relevance.differences["ndcg@10"]
    assert (change.wins, change.losses, change.ties) == (1, 1, 1)
    assert change.mean == pytest.approx(relevance.new["ndcg@10"] - relevance.old["ndcg@10"])
    assert [lost["id"] for lost in relevance.lost_most] == ["q1"]
    assert relevance.lost_most[0]["old_results"] == ["a", "b"]
    assert relevance.lost_most[0]["new_results"] == ["x", "y"]


def test_questions_about_articles_that_the_table_has_not_are_counted_and_left_out() -> None:
    answers = {"q1": ["a"], "q2": ["c"]}

    relevance = compare(QUESTIONS, answers, answers, known={"a", "c"})

    assert relevance is not None
    assert (relevance.questions, relevance.unanswerable) == (2, ("q3",))
    assert relevance.old["success@1"] == 1


def test_questions_of_which_none_can_be_answered_prove_nothing() -> None:
    relevance = compare(QUESTIONS, {}, {}, known=set())

    assert relevance is not None
    assert (relevance.questions, len(relevance.unanswerable)) == (0, 3)
    assert failed(survey_of(), relevance=relevance) == {"relevance_ndcg_at_10"}
    assert compare([], {}, {}) is None


def test_the_bootstrap_is_repeatable_and_its_interval_covers_the_mean() -> None:
    random = np.random.default_rng(5)
    old = random.random(200)
    new = old + random.normal(0.05, 0.1, 200)

    one, two = (paired_difference(old, new, seed=7) for _ in range(2))

    assert one == two
    assert one.low < one.mean < one.high
    standard_error = float(np.std(new - old, ddof=1)) / math.sqrt(200)
    assert one.high - one.low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)
    assert one.p_value < 0.001


def test_no_difference_has_a_p_value_of_one() -> None:
    same = np.random.default_rng(1).random(50)

    change = paired_difference(same, same, seed=1)

    assert (change.mean, change.low, change.high, change.p_value, change.ties) == (0, 0, 0, 1, 50)


def test_chance_alone_is_seldom_called_a_difference() -> None:
    random = np.random.default_rng(11)
    found = [
        paired_difference(np.zeros(60), random.normal(0, 1, 60), seed=at, resamples=400).p_value < 0.05
        for at in range(200)
    ]

    assert np.mean(found) < 0.1


def test_one_article_is_ranked_once_and_named_as_questions_name_it() -> None:
    id_ = bytes(range(16))
    table = Table("chunks", (Column("id", "uuid", "partition"), Column("part", "int", "clustering")))
    hits = [Hit(0.9, {"id": id_, "part": 2}), Hit(0.8, {"id": id_, "part": 1}), Hit(0.7, {"id": bytes(16), "part": 1})]

    assert ranked_ids(hits, table, "id") == [
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "00000000-0000-0000-0000-000000000000",
    ]


@pytest.mark.parametrize(
    ("cql_type", "present", "named"),
    [
        ("text", ["a", "c"], {"a": 1, "b": 1, "c": 1, "\x00": 1}),
        ("bigint", [1, -5], {"1": 1, "-5": 1, "7": 1, "seven": 1, "99999999999999999999": 1}),
        (
            "uuid",
            [bytes(16)],
            {"00000000-0000-0000-0000-000000000000": 1, "not one": 1, "11111111-1111-1111-1111-111111111111": 1},
        ),
    ],
)
def test_it_is_told_which_articles_a_table_knows(
    cql_type: str, present: list[Any], named: dict[str, int], tmp_path: Path
) -> None:
    store = open_store(StoreSettings(kind="embedded", path=tmp_path / "articles.sqlite"))
    table = Table("articles", (Column("id", cql_type, "partition"), Column("title", "text")))
    store.create(table)
    columns = {"id": present, "title": ["t"] * len(present), write_time("title"): [1] * len(present)}
    store.write(table, pa.RecordBatch.from_pydict(columns))

    known = known_articles(store, table, "id", [Question("q", "t", named)])

    store.close()
    assert known == set(
        list(named)[:1] + (list(named)[1:2] if cql_type == "bigint" else []) + ["c"] * (cql_type == "text")
    )


def test_where_the_id_is_not_the_whole_key_nobody_can_tell(tmp_path: Path) -> None:
    table = Table("chunks", (Column("id", "text", "partition"), Column("part", "int", "clustering")))
    store = open_store(StoreSettings(kind="embedded", path=tmp_path / "articles.sqlite"))

    assert known_articles(store, table, "id", QUESTIONS) is None
    store.close()


def survey_of(**counts: Any) -> Survey:
    whole = {"source_rows": 1000, "target_rows": 1000, "with_text": 1000, "vectors": 1000}
    return Survey(Nearest("cosine", np.empty((0, 4), np.float32), 10), **{**whole, **counts})


NOTHING = Allowed(0, 0, normalized=True)
GOOD = Recall(10, 0.99, 0.98, 0.995, 200)


def failed(survey: Survey, recall: Recall | None = GOOD, relevance: Relevance | None = None, **more: Any) -> set[str]:
    allowed = Allowed(more.pop("tolerated", 0), 0.01, normalized=True)
    given = {"dead_letters": 0, "allowed": allowed, "index_rows": 1000, **more}
    made = checks(survey, recall, relevance, ValidationSettings(), **given)
    return {check.name for check in made if check.passed is False}


def test_a_table_without_a_fault_passes() -> None:
    assert failed(survey_of()) == set()


def test_check_names_are_stable() -> None:
    made = checks(survey_of(), GOOD, None, ValidationSettings(), 0, NOTHING)

    assert [check.name for check in made] == [
        *(
            "rows",
            "columns",
            "missing",
            "orphans",
            "stale",
            "older_cells",
            "unproved",
            "without_vector",
            "mixed",
            "finite",
            "unit_norm",
            "dimension",
        ),
        *("duplicates", "dead_letters", "truncated", "reembedding_differs", "index_rows", "recall_at_10"),
        "relevance_ndcg_at_10",
    ]


def test_dead_letters_beyond_what_is_tolerated_fail() -> None:
    lost = survey_of(missing=3, target_rows=997, with_text=1000, vectors=997)

    assert failed(lost, dead_letters=3) == {"rows", "missing", "dead_letters"}
    assert failed(lost, dead_letters=3, tolerated=3) == set()
    assert failed(lost, dead_letters=3, tolerated=0.003) == set()
    assert failed(lost, dead_letters=2, tolerated=3) == {"rows", "missing"}


def test_an_index_that_holds_fewer_vectors_than_the_table_fails() -> None:
    assert failed(survey_of(), index_rows=999) == {"index_rows"}
    assert failed(survey_of(), index_rows=1001) == set()
    assert failed(survey_of(), index_rows=None) == set()
    assert failed(survey_of(in_flight=1), index_rows=999) == set()
    assert failed(survey_of(in_flight=1), index_rows=980) == {"index_rows"}
    assert failed(survey_of(), index_rows=995, changed=7) == set(), "rows have gone between the two counts"
    assert failed(survey_of(), index_rows=990, changed=7) == {"index_rows"}


def test_recall_is_held_against_the_limit_with_its_lower_end() -> None:
    assert failed(survey_of(), Recall(10, 0.96, 0.94, 0.97, 50)) == {"recall_at_10"}
    assert failed(survey_of(), Recall(10, 1.0, 0.90, 1.0, 3)) == set()
    assert failed(survey_of(), None) == {"recall_at_10"}
    empty = {"source_rows": 0, "target_rows": 0, "with_text": 0, "vectors": 0}
    assert failed(survey_of(**empty), None, index_rows=0) == set()


def test_a_share_of_repeated_vectors_beyond_one_in_a_hundred_fails() -> None:
    def repeats(number: int) -> Repeats:
        found = Repeats()
        found.add(np.ones(number + 1, np.uint64), [at.to_bytes(16, "little") for at in range(number + 1)])
        return found

    assert failed(survey_of(repeats=repeats(10))) == set()
    assert failed(survey_of(repeats=repeats(11))) == {"duplicates"}


QUIZ = [Question(str(at), "t", {"a": 1}) for at in range(200)]
KNOWN = {question.id: ["a"] for question in QUIZ}


def worse(lost: int, of: int = 200, **choices: Any) -> Relevance | None:
    """A new table that has lost this many of the questions, all of which the old one answers."""
    return compare(QUIZ[:of], KNOWN, {**KNOWN, **{str(at): ["x"] for at in range(lost)}}, **choices)


def test_a_new_model_passes_where_it_is_shown_that_it_loses_no_more_than_the_limit() -> None:
    assert failed(survey_of(), relevance=worse(0)) == set()
    assert failed(survey_of(), relevance=worse(4)) == set(), "a loss of 0.02, at most 0.04"
    assert failed(survey_of(), relevance=worse(7)) == {"relevance_ndcg_at_10"}, "a loss of 0.035, at most 0.06"
    assert failed(survey_of(), relevance=worse(2, of=50)) == {"relevance_ndcg_at_10"}, "fifty questions tell too little"


def test_at_a_confidence_of_nought_the_measured_loss_decides() -> None:
    assert failed(survey_of(), relevance=worse(9, confidence=0)) == set()
    assert failed(survey_of(), relevance=worse(12, confidence=0)) == {"relevance_ndcg_at_10"}


def test_a_refusal_says_whether_the_model_is_worse_or_the_questions_are_too_few() -> None:
    notes = [
        next(c.note for c in checks(survey_of(), GOOD, relevance, ValidationSettings(), 0, NOTHING) if "ndcg" in c.name)
        for relevance in (worse(60), worse(2, of=50), worse(0))
    ]

    assert notes[0].endswith("; worse")
    assert notes[1].endswith("; too few questions to tell")
    assert notes[2].endswith("p = 1")


def test_the_record_is_plain_json_with_the_keys_that_scripts_read() -> None:
    relevance = compare(QUESTIONS, {"q1": ["a"]}, {"q1": ["a"], "q2": ["c"]}, known={"a", "c"})
    survey = survey_of(missing=1, content=Content(1000, 7))
    made = checks(survey, GOOD, relevance, ValidationSettings(), 0, NOTHING)

    recalls = [GOOD, Recall(100, math.nan, math.nan, math.nan, 0)]
    tree = record(made, survey, recalls, relevance, timings={"survey": 1.5}, more={"table": "articles_v2"})

    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert tree["passed"] is False
    assert {"name", "value", "limit", "passed"} <= set(tree["checks"][0])
    assert (
        set(tree["relevance"]["old"])
        == {"ndcg@10", "recall@10", "mrr@10", "success@1"}
        == set(tree["relevance"]["new"])
    )
    assert tree["relevance"]["unanswerable"] == ["q3"]
    assert (tree["recall@10"], tree["recall@100"]) == (0.99, None)
    assert tree["intervals"]["recall@10"] == {"low": 0.98, "high": 0.995, "probes": 200, "confidence": 0.95}
    assert (tree["counts"]["missing"], tree["content"]) == (1, f"1000:{7:032x}")
    assert tree["table"] == "articles_v2"


def test_a_record_without_questions_has_no_relevance() -> None:
    tree = record([Check("rows", 1, 1, True)], survey_of(), [], None)

    assert (tree["passed"], tree["relevance"]) == (True, None)


@pytest.mark.skipif(not CRANFIELD.is_dir(), reason=f"the Cranfield collection is not in {CRANFIELD}")
@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="the package wordllama is not installed")
def test_on_cranfield_the_figures_are_the_published_ones() -> None:
    from embedshift.embedding import load_model

    articles = [json.loads(line) for line in (CRANFIELD / "articles.jsonl").read_text().splitlines()]
    questions = read_questions(CRANFIELD / "queries.jsonl")
    model = load_model(ModelSettings(name="package:wordllama-l2-256"))
    probes = model.embed([question.text for question in questions]).vectors
    nearest = Nearest("cosine", probes, 10)
    vectors = model.embed([f"{article['title']}. {article['content']}" for article in articles]).vectors
    nearest.update(vectors, [article["id"].encode() for article in articles])

    answers = dict(
        zip((q.id for q in questions), ([k.decode() for k in row] for row in nearest.ranked()[1]), strict=True)
    )

    means = judge(questions, answers).means()
    assert means["ndcg@10"] == pytest.approx(0.2850, abs=0.005)
    assert means["recall@10"] == pytest.approx(0.3284, abs=0.005)
