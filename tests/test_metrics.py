"""Agreement of instances, by hand and against a plain implementation."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from cellsieve.metrics import Matches, dice, iou_matrix, match

TRUTH = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0, 0, 0, 0, 0], [7, 7, 7, 0, 0]])
FOUND = np.array([[5, 5, 5, 0, 3], [5, 5, 5, 0, 3], [0, 0, 0, 0, 0], [0, 9, 9, 0, 4]])


def test_by_hand():
    # rows 1, 2, 7; columns 3, 4, 5, 9
    expected = [[0, 0, 4 / 6, 0], [2 / 4, 0, 0, 0], [0, 0, 0, 2 / 3]]
    iou = iou_matrix(TRUTH, FOUND)
    assert np.allclose(iou, expected)
    assert match(iou, 0.5) == Matches(3, 1, 0)
    assert match(iou, 0.6) == Matches(2, 2, 1)
    assert match(iou, 0.6).average_precision == 2 / 5
    assert match(iou, 0.6).f1 == 4 / 7
    # 11 true, 11 found, 4 + 2 + 2 shared
    assert dice(TRUTH, FOUND) == 16 / 22


@pytest.mark.parametrize(
    ("truth", "found", "expected", "ap", "overlap"),
    [
        (0, 0, Matches(0, 0, 0), 1.0, 1.0),
        (0, 1, Matches(0, 1, 0), 0.0, 0.0),
        (1, 0, Matches(0, 0, 1), 0.0, 0.0),
        (4, 9, Matches(1, 0, 0), 1.0, 1.0),
    ],
)
def test_nothing_and_everything(truth, found, expected, ap, overlap):
    truth, found = np.full((3, 4), truth), np.full((3, 4), found)
    result = match(iou_matrix(truth, found))
    assert (result, result.average_precision, result.f1) == (expected, ap, ap)
    assert dice(truth, found) == overlap


def test_as_many_pairs_as_possible_and_among_those_the_best():
    # greedy by IoU would take (0, 0) and leave (1, …) without a partner
    assert match(np.array([[0.6, 0.5], [0.5, 0.0]]), 0.5) == Matches(2, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_against_a_plain_implementation(seed):
    rng = np.random.default_rng(seed)
    numbers = np.append(0, rng.choice(3_000_000_000, 8, replace=False)).astype(np.uint32)
    truth = numbers[rng.integers(0, 9, (6, 7))].repeat(3, 0).repeat(3, 1)
    found = np.roll(truth, 1, axis=1)
    noisy = rng.random(truth.shape) < 0.2
    found[noisy] = numbers[rng.integers(0, 9, noisy.sum())]
    iou = iou_matrix(truth, found)
    for i, a in enumerate(np.setdiff1d(truth, 0)):
        for j, b in enumerate(np.setdiff1d(found, 0)):
            both = ((truth == a) & (found == b)).sum()
            assert iou[i, j] == both / ((truth == a) | (found == b)).sum()
    for threshold in (0.1, 0.2, 0.5, 0.9):
        pairs = maximum_bipartite_matching(csr_matrix(iou >= threshold)) >= 0
        hits = int(pairs.sum())
        expected = Matches(hits, iou.shape[1] - hits, iou.shape[0] - hits)
        assert match(iou, threshold) == expected


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        iou_matrix(np.zeros((2, 2), int), np.zeros((2, 3), int))
