"""Overlap, rank-biased overlap, and tallies that can be added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedshift.catalog.shadow import Latencies, Mean, ShadowStats
from embedshift.validation.overlap import overlap, rank_biased_overlap

TEN = list("abcdefghij")


@pytest.mark.parametrize(
    ("old", "new", "shared", "biased"),
    [
        (TEN, TEN, 1, 1),
        (TEN, list("klmnopqrst"), 0, 0),
        ([], [], 1, 1),
        (["a"], [], 0, 0),
        # By hand, p = 0.9: (2/2) 0.9² + (0.1/0.9) (0/1 × 0.9 + 2/2 × 0.81).
        (["a", "b"], ["b", "a"], 1, 0.81 + 0.1 / 0.9 * 0.81),
        (["a", "b"], ["a", "c"], 0.5, 0.5 * 0.81 + 0.1 / 0.9 * (0.9 + 0.5 * 0.81)),
    ],
)
def test_answers_are_compared(old, new, shared, biased):
    assert overlap(old, new, 10) == pytest.approx(shared)
    assert rank_biased_overlap(old, new) == pytest.approx(biased)


@given(st.permutations(TEN))
def test_rank_biased_overlap_is_fair_and_heeds_the_top_most(order):
    assert rank_biased_overlap(TEN, order) == pytest.approx(rank_biased_overlap(order, TEN))
    assert 0 <= rank_biased_overlap(TEN, order) <= 1 + 1e-9
    last = [*TEN[:8], TEN[9], TEN[8]]
    first = [TEN[1], TEN[0], *TEN[2:]]
    assert rank_biased_overlap(TEN, last) > rank_biased_overlap(TEN, first)


@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=300))
def test_quantiles_are_right_to_the_width_of_a_bucket(seconds):
    times = Latencies()
    for each in seconds:
        times.count(each)
    found = times.report()
    # A rank such as 0.7 × 10 lies a rounding beside 7: either neighbour is right there.
    low, high = (
        np.quantile(np.array(seconds) * 1000, np.clip(np.linspace(0, 1, 101) + beside, 0, 1), method="inverted_cdf")
        for beside in (-1e-9, 1e-9)
    )
    assert (np.array(found["quantiles_ms"]) >= low / 1.0201).all()
    assert (np.array(found["quantiles_ms"]) <= high * 1.0201).all()
    assert found["searches"] == len(seconds)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_a_mean_has_its_interval(values):
    mean = Mean()
    for each in values:
        mean.count(each)
    found = mean.report()
    half = 1.959964 * np.std(values, ddof=1) / np.sqrt(len(values))
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["low"] == pytest.approx(max(0, np.mean(values) - half), abs=1e-6)
    assert found["high"] == pytest.approx(min(1, np.mean(values) + half), abs=1e-6)


def test_one_value_says_little_and_none_says_nothing():
    mean = Mean()
    assert mean.report() is None
    mean.count(0.5)
    assert mean.report() == {"mean": 0.5, "low": 0.0, "high": 1.0}


def test_tallies_survive_the_catalog_and_add_up():
    one, other = ShadowStats(2, 1, 0, 10, 20), ShadowStats(3, 0, 1, 5, 15)
    for stats in (one, other):
        stats.overlap.count(0.5)
        stats.rbo.count(0.25)
        stats.old.count(0.003)
        stats.new.count(0.004)
    assert ShadowStats.from_json(one.to_json()) == one
    both = ShadowStats.from_json(one.to_json()) + ShadowStats.from_json(other.to_json())
    assert (both.searches, both.dropped, both.failed, both.from_us, both.to_us) == (5, 1, 1, 5, 20)
    assert both.report()["overlap@10"]["mean"] == 0.5
    assert both.report()["latency"]["new"]["searches"] == 2
    assert ShadowStats() + one == one
