"""Bootstrap intervals over images, by hand and against scipy's."""

import numpy as np
import pytest
from scipy import stats

from cellsieve.benchmarks.bootstrap import Estimate, difference, estimate, mean, pooled


def test_two_images_by_hand():
    # drawn twice the first with a quarter of the draws, twice the second with another
    assert estimate(mean([0.2, 0.6])) == pytest.approx((0.4, 0.2, 0.6))
    assert estimate(pooled([1, 9], [10, 10])) == pytest.approx((0.5, 0.1, 0.9))


def test_a_pooled_figure_is_no_mean_of_ratios():
    assert estimate(pooled([1, 90], [2, 100])).value == pytest.approx(91 / 102)


def test_against_scipy():
    rng = np.random.default_rng(3)
    total = rng.integers(1, 100, 60)
    hits = rng.binomial(total, rng.beta(8, 2, 60))
    value, low, high = estimate(pooled(hits, total))
    expected = stats.bootstrap(
        (hits, total),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert value == hits.sum() / total.sum()
    assert (low, high) == pytest.approx(tuple(expected), abs=0.1 * (high - low))


def test_images_without_a_value_are_left_out():
    assert estimate(mean([np.nan, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])) == (0.5, 0.5, 0.5)


def test_a_draw_without_a_value_leaves_no_interval():
    figure = estimate(pooled([0, 3], [0, 4]))
    assert figure.value == 0.75
    assert figure.as_dict("pooled") == {"pooled": 0.75, "low": None, "high": None}
    assert estimate(mean([np.nan])).as_dict("mean") == {"mean": None, "low": None, "high": None}


def test_a_difference_is_of_the_same_images():
    """Images differ far more than the methods; in pairs that cancels."""
    hard = np.random.default_rng(1).random(40)
    apart = estimate(mean(hard + 0.1))
    assert apart.low < estimate(mean(hard)).high
    assert difference(mean(hard + 0.1), mean(hard)) == pytest.approx((0.1, 0.1, 0.1))
    assert difference(pooled(hard, hard), pooled(hard, 2 * hard)) == pytest.approx((0.5, 0.5, 0.5))


def test_the_same_draws_each_time():
    values = np.random.default_rng(2).random(30)
    assert estimate(mean(values)) == estimate(mean(values))
    assert isinstance(estimate(mean(values)), Estimate)
