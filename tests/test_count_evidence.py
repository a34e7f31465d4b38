"""What spots say of the number of signals, against sums over all choices of spots."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from cellsieve.fish.aberration import Kinds, fit_kinds, judge
from cellsieve.fish.count_evidence import (
    SpotModel,
    Strays,
    count_evidence,
    count_strays,
    fit_spots,
    strength,
)

NO_STRAYS = Strays(np.zeros(1), np.zeros(1))
MODEL = SpotModel(3.0, 2.0, 0.5, 0.2, 0.01, NO_STRAYS)


def found(*contrasts, height=10.0):
    """Loci of nuclei, a list of contrasts each."""
    rows = [(nucleus, c, height * c) for nucleus, own in enumerate(contrasts) for c in own]
    return pd.DataFrame(rows, columns=["nucleus", "contrast", "height"])


def by_enumeration(contrasts, area, model):
    """k! times the sum over all choices of k spots that are the signals."""
    x = np.log(np.array(contrasts) / model.limit)
    x = np.minimum(x, model.mean + model.sd**2 / model.decay)
    noise = area * model.density * np.exp(-x / model.decay) / model.decay
    stray = area * model.strays.at(np.log(10 * np.array(contrasts)))
    ratio = norm.pdf(x, model.mean, model.sd) / (noise + stray)
    sums = [
        factorial(k) * sum(np.prod(chosen) for chosen in combinations(ratio, k)) for k in range(9)
    ]
    return np.array(sums) / max(sums)


@pytest.mark.parametrize("strays", [NO_STRAYS, Strays(np.array([0.0, 9.0]), np.array([1e-4] * 2))])
def test_evidence_is_the_sum_over_all_choices_of_spots(strays):
    spots = [[25.0, 9.0, 4.0, 3.2], [3.1], [20.0, 21.0]]
    area = np.array([500.0, 700.0, 900.0])
    model = MODEL._replace(strays=strays)
    evidence = count_evidence(found(*spots), area, model)
    for row, own, size in zip(evidence, spots, area, strict=True):
        np.testing.assert_allclose(row, by_enumeration(own, size, model), rtol=1e-9)


def test_nucleus_without_spots_has_no_signals():
    evidence = count_evidence(found([20.0], []), np.array([500.0, 500.0]), MODEL)
    assert evidence[1].tolist() == [1] + [0] * 8


def test_brighter_is_no_less_a_signal():
    # the normal falls off faster than the exponential: far above, noise would win again
    bright = count_evidence(found([100.0], [6000.0]), np.full(2, 500.0), MODEL)
    np.testing.assert_allclose(bright[0], bright[1])
    assert bright[1, 1] / bright[1, 0] > 50


def test_densities_are_found_again():
    rng = np.random.default_rng(3)
    nuclei = [
        [
            *(3 * np.exp(rng.normal(1.8, 0.4, 2))),
            *(3 * np.exp(rng.exponential(0.2, rng.poisson(3)))),
        ]
        for _ in range(400)
    ]
    nuclei = [[c for c in own if c >= 3] for own in nuclei]
    model = fit_spots(found(*nuclei), np.full(400, 600.0), NO_STRAYS)
    assert model.mean == pytest.approx(1.8, abs=0.06)
    assert model.sd == pytest.approx(0.4, abs=0.06)
    assert model.decay == pytest.approx(0.2, abs=0.03)
    assert model.density * 600 == pytest.approx(3, abs=0.3)


def test_strays_are_as_many_as_there_are():
    heights = np.exp(np.random.default_rng(0).normal(4, 0.7, 500))
    strays = count_strays(heights, 1e5)
    spacing = strays.log_height[1] - strays.log_height[0]
    assert strays.density.sum() * spacing * 1e5 == pytest.approx(500)
    assert count_strays(heights[:0], 1e5).at(np.array([4.0])).tolist() == [0]


def test_strength_is_that_of_the_strongest_spot():
    spots = found([3 * np.exp(2.5), 4.0], [], [3 * np.exp(1.0)])
    # the third nucleus has number 2; the mean is 2, the standard deviation 0.5
    np.testing.assert_allclose(strength(spots, 3, MODEL), [1, -4, -2])


def one_count(*counts):
    evidence = np.full((len(counts), len(counts[0]), 9), 1e-6)
    for row, own in zip(evidence, counts, strict=True):
        row[np.arange(len(own)), own] = 1
    return evidence


def test_posterior_is_that_of_three_kinds_of_nuclei():
    rng = np.random.default_rng(0)
    evidence, shares = rng.uniform(size=(4, 2, 9)), np.array([0.7, 0.1, 0.2])
    numbers = rng.dirichlet(np.ones(9), (3, 2))
    posterior = judge(evidence, Kinds(shares, numbers))
    for row, own in enumerate(evidence):
        joint = np.zeros((3, 9, 9))
        for kind in range(3):
            first, second = numbers[kind] * own
            joint[kind] = shares[kind] * np.outer(first, second)
        joint /= joint.sum()
        np.testing.assert_allclose(posterior.kinds[row], joint.sum(axis=(1, 2)))
        np.testing.assert_allclose(posterior.counts[row, 0], joint.sum(axis=(0, 2)))
        np.testing.assert_allclose(posterior.counts[row, 1], joint.sum(axis=(0, 1)))
        none, both = joint[:, :3, :3].sum(), joint[:, 3:, 3:].sum()
        np.testing.assert_allclose(posterior.gains[row], [none, 1 - none - both, both])


def test_shares_of_the_kinds_are_found():
    nuclei = [(2, 2, 2)] * 180 + [(3, 4, 3)] * 10 + [(0, 0, 0)] * 10
    kinds = fit_kinds(one_count(*nuclei))
    # 10 of 200 nuclei, and 0.3 of the 10 that are thought of beforehand
    np.testing.assert_allclose(kinds.shares, np.array([189.4, 10.3, 10.3]) / 210, atol=1e-3)
    assert kinds.numbers[0, 0, 2] > 0.98
    assert kinds.numbers[2, 0, 3] > kinds.numbers[2, 0, 2]
