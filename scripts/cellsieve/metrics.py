"""How well predicted instances agree with true ones."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class Matches(NamedTuple):
    """Counts of matched and unmatched objects at one IoU threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 when there is nothing to find and nothing was found."""
        total = sum(self)
        return self.true_positives / total if total else 1.0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 1.0


def iou_matrix(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Intersection over union of every true with every predicted object.

    Parameters
    ----------
    truth, predicted : ndarray, (H, W), integer
        Instance labels, 0 = background; numbers need not be consecutive.

    Returns
    -------
    ndarray, (n_true, n_predicted), float64
        Rows and columns in ascending order of the labels.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"label images differ in shape: {truth.shape} and {predicted.shape}")
    _, rows = np.unique(np.append(truth, 0), return_inverse=True)
    _, cols = np.unique(np.append(predicted, 0), return_inverse=True)
    counts = np.zeros((rows.max() + 1, cols.max() + 1), np.int64)
    np.add.at(counts, (rows[:-1], cols[:-1]), 1)
    union = counts.sum(1, keepdims=True) + counts.sum(0, keepdims=True) - counts
    return counts[1:, 1:] / union[1:, 1:]


def match(iou: np.ndarray, threshold: float = 0.5) -> Matches:
    """Match objects one to one at an IoU threshold, as many pairs as possible.

    Parameters
    ----------
    iou : ndarray, (n_true, n_predicted), float64
        From `iou_matrix`.
    threshold : float
        Smallest IoU of a match.
    """
    allowed = iou >= threshold
    # the tiny IoU term prefers the better of equally many matches
    rows, cols = linear_sum_assignment(-(allowed + iou / (2 * max(1, min(iou.shape)))))
    hits = int(allowed[rows, cols].sum())
    return Matches(hits, iou.shape[1] - hits, iou.shape[0] - hits)


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Dice coefficient of the two foregrounds; 1 when both are empty."""
    a, b = truth > 0, predicted > 0
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
