"""Decades of rarity: ranks among normal scores, and a tail beyond them."""

import numpy as np
import pytest

from cellsieve.anomaly.rarity import Rarity, join


def test_ranks_by_hand():
    rarity = Rarity(np.arange(19.0))
    # 19, 10 and 3 of the 19 are at least as high
    assert 10 ** -rarity(np.array([0.0, 9.0, 16.0])) == pytest.approx([20 / 20, 11 / 20, 4 / 20])


def test_the_tail_of_a_pareto_distribution_is_continued():
    """P(S > s) = s^-2: 10 is one in 100, and 1000, far beyond all scores, one in a million."""
    normal = np.random.default_rng(0).pareto(2, 20_000) + 1
    assert Rarity(normal)(np.array([10.0, 1000.0])) == pytest.approx([2, 6], abs=0.35)


@pytest.mark.parametrize("normal", [np.zeros(20), np.ones(30), np.r_[np.zeros(25), 1e-12]])
def test_equal_scores_are_common_and_all_is_finite(normal):
    decades = Rarity(normal)(np.array([0.0, 1e-13, 1.0, 1e9]))
    assert np.isfinite(decades).all()
    assert (np.diff(decades) >= 0).all()
    assert decades[0] == pytest.approx(0, abs=0.02)


def test_higher_is_never_less_rare():
    random = np.random.default_rng(3)
    for count in (20, 35, 500):
        decades = Rarity(random.lognormal(size=count))(np.sort(random.lognormal(0, 3, 400)))
        assert (np.diff(decades) >= 0).all()


def test_the_nucleus_leads_and_its_surroundings_follow():
    crop = np.array([0.2, 0.2, 0.2, 3.0])
    surroundings = np.array([1.2, 1.4, 9.0, 9.0])
    assert join(crop, surroundings) == pytest.approx([0.2, np.log10(20), np.log10(20), 3.0])


def test_no_score_has_no_rarity():
    decades = Rarity(np.arange(100.0))(np.array([np.nan, 5.0]))
    assert np.isnan(decades).tolist() == [True, False]
