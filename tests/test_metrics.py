"""Agreement of instances, by hand, against plain implementations and against cellpose's."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from cellsieve.benchmarks import metrics
from cellsieve.benchmarks.metrics import (
    Matches,
    aggregated_jaccard,
    count_overlap,
    dice,
    foreground_iou,
    iou_matrix,
    match,
    matches_at,
    panoptic,
)

TRUTH = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0, 0, 0, 0, 0], [7, 7, 7, 0, 0]])
FOUND = np.array([[5, 5, 5, 0, 3], [5, 5, 5, 0, 3], [0, 0, 0, 0, 0], [0, 9, 9, 0, 4]])


def line(*lengths):
    """One row of objects 1, 2, … of these lengths in pixels; negative ones are gaps."""
    labels, number = [], 0
    for length in lengths:
        number += length > 0
        labels += [number if length > 0 else 0] * abs(length)
    return np.array([labels])


def random_pair(seed, side=7):
    """Labels of any size of number, and a shifted copy of which a tenth is changed."""
    rng = np.random.default_rng(seed)
    numbers = np.append(0, rng.choice(3_000_000_000, 8, replace=False)).astype(np.uint32)
    truth = numbers[rng.integers(0, 9, (side - 1, side))].repeat(8, 0).repeat(8, 1)
    found = np.roll(truth, 1, axis=1)
    noisy = rng.random(truth.shape) < 0.1
    found[noisy] = numbers[rng.integers(0, 9, noisy.sum())]
    return truth, found


def test_by_hand():
    # rows 1, 2, 7; columns 3, 4, 5, 9
    expected = [[0, 0, 4 / 6, 0], [2 / 4, 0, 0, 0], [0, 0, 0, 2 / 3]]
    iou = iou_matrix(TRUTH, FOUND)
    assert np.allclose(iou, expected)
    assert match(iou, 0.5) == Matches(3, 1, 0)
    assert match(iou, 0.6) == Matches(2, 2, 1)
    assert match(iou, 0.6).average_precision == 2 / 5
    assert match(iou, 0.6).f1 == 4 / 7


def test_foregrounds_by_hand():
    # 11 true, 11 found, 4 + 2 + 2 shared
    overlap = count_overlap(TRUTH, FOUND)
    assert dice(overlap) == 16 / 22
    assert foreground_iou(overlap) == 8 / 14


def test_panoptic_quality_by_hand():
    # the pair at exactly 0.5 is no match; two pairs of 2/3 among 3 true and 4 found
    assert panoptic(count_overlap(TRUTH, FOUND)) == pytest.approx((2 / 3 * 4 / 7, 2 / 3, 4 / 7))


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        # unions of the three pairs 6, 4 and 3; one pixel found that none took
        (TRUTH, FOUND, 8 / 14),
        # merged: both true objects take the same one, of 8 px
        (line(6, 2), line(8), (6 + 2) / (8 + 8)),
        # split: the larger part is taken, the smaller one left over
        (line(8), line(6, 2), 6 / (8 + 2)),
        # missed: its area is added to the union
        (line(4, -1, 3), line(4, -4), 4 / (4 + 3)),
        # by IoU (2/6 and 2/3), not by intersection: the small one is taken
        (line(-4, 4, -4), line(6, 2, -4), 2 / (4 + 6)),
    ],
    ids=["three", "merged", "split", "missed", "largest-iou"],
)
def test_aggregated_jaccard_by_hand(truth, found, expected):
    assert aggregated_jaccard(count_overlap(truth, found)) == expected


@pytest.mark.parametrize(
    ("truth", "found", "expected", "value"),
    [
        (0, 0, Matches(0, 0, 0), 1.0),
        (0, 1, Matches(0, 1, 0), 0.0),
        (1, 0, Matches(0, 0, 1), 0.0),
        (4, 9, Matches(1, 0, 0), 1.0),
    ],
)
def test_nothing_and_everything(truth, found, expected, value):
    truth, found = np.full((3, 4), truth), np.full((3, 4), found)
    result = match(iou_matrix(truth, found))
    assert (result, result.average_precision, result.f1) == (expected, value, value)
    overlap = count_overlap(truth, found)
    for measure in (dice, foreground_iou, aggregated_jaccard):
        assert measure(overlap) == value
    quality, segmentation, recognition = panoptic(overlap)
    assert (quality, recognition) == (value, value)
    assert np.isnan(segmentation) == (sum(expected[:1]) == 0)


def test_as_many_pairs_as_possible():
    # greedy by IoU would take (0, 0) and leave (1, …) without a partner
    assert match(np.array([[0.6, 0.5], [0.5, 0.0]]), 0.5) == Matches(2, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_against_a_plain_implementation(seed):
    truth, found = random_pair(seed)
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


@pytest.mark.parametrize("seed", range(5))
def test_aggregated_jaccard_against_the_algorithm_as_printed(seed):
    truth, found = random_pair(seed)
    shared = union = 0
    used = set()
    for a in np.setdiff1d(truth, 0):
        one = truth == a
        others = {b: found == b for b in np.setdiff1d(found, 0)}
        best = max(others, key=lambda b: (one & others[b]).sum() / (one | others[b]).sum())
        if (one & others[best]).any():
            shared += (one & others[best]).sum()
            union += (one | others[best]).sum()
            used.add(best)
        else:
            union += one.sum()
    union += sum((found == b).sum() for b in np.setdiff1d(found, 0) if b not in used)
    assert aggregated_jaccard(count_overlap(truth, found)) == shared / union


def test_overlap_does_not_depend_on_the_tiles(monkeypatch):
    truth, found = random_pair(1)
    whole = count_overlap(truth, found)
    monkeypatch.setattr(metrics, "TILE", 5)
    for one, other in zip(whole, count_overlap(truth, found), strict=True):
        assert np.array_equal(one, other)


def test_ten_thousand_objects():
    """The matrix of all pairs would take 0.8 GB; only those that touch are listed."""
    square = np.pad(np.ones((8, 8), int), ((0, 2), (0, 2)))
    truth = np.kron(np.arange(1, 10_001).reshape(100, 100), square)
    overlap = count_overlap(truth, np.roll(truth, 1, axis=1))
    assert len(overlap.shared) == 10_000
    # each is moved by 1 of 8 px: IoU 7/9
    assert matches_at(overlap, [0.75, 0.8]) == [Matches(10_000, 0, 0), Matches(0, 10_000, 10_000)]
    assert aggregated_jaccard(overlap) == pytest.approx(7 / 9)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_against_cellpose():
    from cellpose.metrics import aggregated_jaccard_index, average_precision

    thresholds = np.arange(50, 100, 5) / 100
    for seed in range(5):
        truth, found = (
            np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
            for labels in random_pair(seed)
        )
        matches = matches_at(count_overlap(truth, found), thresholds)
        ap, *counts = average_precision(truth, found, thresholds)
        assert len({matched.true_positives for matched in matches}) > 2
        assert np.array_equal(np.transpose(matches), counts)
        assert [m.average_precision for m in matches] == pytest.approx(ap.tolist())

    # where no object touches two, pairing one to one is the same as taking the best
    apart = [line(6, -2, 5, -3, 4), line(-1, 6, -4, 3, -6)]
    assert aggregated_jaccard(count_overlap(*apart)) == aggregated_jaccard_index(
        *([labels] for labels in apart)
    )
    # merged: cellpose leaves 2 true px without a partner and counts the 8 px of the union once
    assert aggregated_jaccard_index([line(6, 2)], [line(8)]) == 6 / 8
    assert aggregated_jaccard(count_overlap(line(6, 2), line(8))) == 8 / 16


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        count_overlap(np.zeros((2, 2), int), np.zeros((2, 3), int))
