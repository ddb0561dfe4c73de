"""The verdict: one sentence."""

from __future__ import annotations

import pytest

from embedshift.reporting.page import verdict
from embedshift.reporting.proof import checks
from tests.report.records import bare_record, failed_record, without_labels


def judged(old: float, new: float) -> dict:
    change = {"mean": new - old, "low": 0.16, "high": 0.32, "confidence": 0.95}
    return {"old": {"ndcg@10": old}, "new": {"ndcg@10": new}, "difference": {"ndcg@10": change}, "questions": 160}


def test_a_passed_validation_says_that_the_switch_may_be_made():
    assert verdict(bare_record(relevance=judged(0.456, 0.696))) == (
        "articles_v2 is ready for cutover: 6 of 6 checks passed; "
        "nDCG@10 rose from 0.456 to 0.696 (+0.240, 95 % 0.16 to 0.32)"
    )


def test_a_failed_one_names_the_checks_that_failed():
    record = failed_record("missing", "stale", relevance=judged(0.7, 0.5))
    assert verdict(record).startswith(
        "articles_v2 is not ready for cutover: 4 of 6 checks passed, 2 failed (missing, stale); "
        "nDCG@10 fell from 0.700 to 0.500"
    )


def test_what_was_not_measured_is_told_apart_from_what_passed():
    """Also in records of earlier versions, in which a check without a value had passed."""
    for passed in (None, True):
        record = bare_record()
        record["checks"][4] |= {"passed": passed, "value": None}
        said = "articles_v2 is ready for cutover: 5 of 6 checks passed, 1 not measured (recall_at_10)"
        assert verdict(record).startswith(said)
        (table,) = checks(record).tables
        assert [row[1] for row in table.rows].count("not measured") == 1
        assert table.faulty == frozenset()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (bare_record(), "relevance was not measured: there are no labelled questions"),
        (bare_record(relevance={"unanswerable": ["q1"]}), "the table has no article of any question"),
        (bare_record(relevance=judged(0.5, 0.5)), "nDCG@10 stayed at 0.500"),
        (without_labels(), "nDCG@10 (titles as questions) fell from 0.800 to 0.700"),
    ],
)
def test_what_became_of_relevance_is_always_said(record, said):
    """Invariant 14: what was not measured is said, and never counts as passed."""
    assert said in verdict(record)


def test_the_table_is_named_as_the_catalog_has_it():
    assert verdict(bare_record(tables={"new": {"table": "other"}})).startswith("other is ready for cutover")
    assert verdict(bare_record(migration=None)).startswith("the new table is ready for cutover")
