"""The threshold that a slide's own scores set: by hand, and on slides whose tail is known."""

import numpy as np
import pandas as pd
import pytest

from cellsieve.calling.anomaly_calls import Limits, call_anomalies
from cellsieve.calling.dynamic_threshold import SMALLEST, dynamic_threshold


def test_by_hand():
    """A step of 1 leaves two thirds, so that half of 27 becomes 9, 6 … and 1 after 6.42."""
    score = np.repeat([-1.0, 0.0, 1.0, 30.0], [6, 7, 8, 6])
    assert np.quantile(score, [0.25, 0.5]).tolist() == [0, 1]
    steps = dynamic_threshold(score) - 1
    assert 13.5 * (2 / 3) ** steps == pytest.approx(1)
    assert dynamic_threshold(10 + 3 * score[::-1]) == pytest.approx(10 + 3 * (steps + 1))


@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
def test_about_one_nucleus_of_a_slide_whose_tail_is_exponential(rate):
    random = np.random.default_rng(1)
    beyond = []
    for _ in range(400):
        score = random.exponential(rate, 3000)
        beyond.append((score >= dynamic_threshold(score)).sum())
    assert 0.9 < np.mean(beyond) < 1.3


def test_a_tenth_of_outliers_hardly_moves_it_and_is_called():
    random = np.random.default_rng(2)
    normal = random.exponential(1, 2000)
    both = np.append(normal, random.uniform(20, 90, 200))
    assert dynamic_threshold(both) < 1.3 * dynamic_threshold(normal) < 15


@pytest.mark.parametrize(
    "score", [np.empty(0), np.arange(SMALLEST - 1.0), np.ones(50), np.r_[np.ones(40), 2, 3]]
)
def test_no_threshold_of_few_or_equal_scores(score):
    assert np.isnan(dynamic_threshold(score))


def nuclei(score, p):
    return pd.DataFrame({"anomaly_score": score, "anomaly_p": p})


def test_calls_rest_on_it_when_asked_for():
    """By q nothing can be called: no p is below 0.05."""
    score = np.r_[np.random.default_rng(3).exponential(0.4, 98), 30, 40]
    table = nuclei(score, np.clip(np.exp(-score), 0.05, 1))
    whole = np.ones(100, bool)
    whole[99] = False
    called = call_anomalies(table, whole, Limits("dynamic", 0.01, 5.0))
    assert (called.called_by, called.limit) == ("dynamic", dynamic_threshold(score[:99]))
    assert called.call[98] == "suspicious"
    assert called.call[99] == "not_assessable"
    assert np.isfinite(called.q[:99]).all()
    by_q = call_anomalies(table, whole, Limits("conformal", 0.01, 5.0))
    assert (by_q.called_by, by_q.limit) == ("q", 0.01)
    assert set(by_q.call[:99]) == {"normal"}
    assert by_q.q[:99] == pytest.approx(called.q[:99])


def test_too_few_nuclei_are_not_called():
    few = nuclei(np.arange(10.0), np.nan)
    called = call_anomalies(few, np.ones(10, bool), Limits("dynamic", 0.1, 5.0))
    assert (called.called_by, called.limit) == (None, None)
    assert set(called.call) == {"not_assessable"}


@pytest.mark.parametrize("threshold", ["conformal", "dynamic"])
def test_nuclei_without_p_beside_others_with_one_are_in_no_test(threshold):
    """A field unlike the reference, whose nuclei score high, changes nothing for the others."""
    random = np.random.default_rng(4)
    score = random.exponential(0.4, 200)
    p = random.permutation(np.arange(1, 201)) / 201
    alike = call_anomalies(nuclei(score, p), np.ones(200, bool), Limits(threshold, 0.1, 5.0))
    table = nuclei(np.r_[score, np.full(300, 9.0)], np.r_[p, np.full(300, np.nan)])
    both = call_anomalies(table, np.ones(500, bool), Limits(threshold, 0.1, 5.0))
    assert both.call[:200].tolist() == alike.call.tolist()
    assert both.q[:200] == pytest.approx(alike.q)
    assert both.z[:200] == pytest.approx(alike.z)
    assert set(both.call[200:]) == {"not_assessable"}
    assert np.isnan(both.q[200:]).all()
