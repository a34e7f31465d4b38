"""A coreset against brute force."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cellsieve.anomaly.coreset import farthest_first


def test_a_line_by_hand():
    """From the one nearest to the mean, 3.4, to the far end, then to the near one."""
    line = np.array([[0.0], [1], [3], [4], [9]])
    found = farthest_first(line, 3)
    assert found.places.tolist() == [0, 2, 4]
    assert found.radius == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_farther_than_twice_the_best(seed):
    vectors = np.random.default_rng(seed).normal(size=(12, 3))
    found = farthest_first(vectors, 3)
    apart = cdist(vectors, vectors)
    assert found.radius == pytest.approx(apart[:, found.places].min(1).max(), rel=1e-4)
    best = min(apart[:, list(few)].min(1).max() for few in combinations(range(12), 3))
    assert found.radius <= 2 * best


def test_twins_are_chosen_last():
    vectors = np.repeat(np.eye(4), 3, axis=0)
    found = farthest_first(vectors, 4)
    assert len(np.unique(vectors[found.places], axis=0)) == 4
    assert found.radius == pytest.approx(0, abs=1e-3)
    assert farthest_first(vectors, 12).places.tolist() == list(range(12))
