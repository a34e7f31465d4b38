"""How well predicted instances agree with true ones."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from cellsieve.tiles import tiles

TILE = 2048


class Overlap(NamedTuple):
    """The pixels that true and predicted objects share: a list of the pairs that touch.

    Attributes
    ----------
    true_labels, predicted_labels : ndarray, (n,) and (m,), integer
        Ascending, without the background.
    true_areas, predicted_areas : ndarray, (n,) and (m,), int64
        In pixels.
    rows, columns : ndarray, (k,), int64
        Of each pair, positions in ``true_labels`` and ``predicted_labels``.
    shared : ndarray, (k,), int64
        Pixels that the pair has in common, at least one.
    """

    true_labels: np.ndarray
    predicted_labels: np.ndarray
    true_areas: np.ndarray
    predicted_areas: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    shared: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """Pixels in either object of each pair, (k,) int64."""
        return self.true_areas[self.rows] + self.predicted_areas[self.columns] - self.shared

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each pair, (k,) float64."""
        return self.shared / self.union


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
        """2 TP / (2 TP + FP + FN); 1 when there is nothing to find and nothing was found."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 1.0


class Panoptic(NamedTuple):
    """Panoptic quality and its two factors; see `panoptic`."""

    quality: float
    segmentation: float
    recognition: float


def count_overlap(truth: Any, predicted: Any) -> Overlap:
    """Count the pixels that objects of two label images share.

    Parameters
    ----------
    truth, predicted : array-like, (H, W), integer
        Instance labels, 0 = background; numbers need not be consecutive.
        Read tile by tile.

    Returns
    -------
    Overlap

    Raises
    ------
    ValueError
        If the images differ in shape.
    """
    if tuple(truth.shape) != tuple(predicted.shape):
        raise ValueError(f"label images differ in shape: {truth.shape} and {predicted.shape}")
    parts = [
        _pairs(np.asarray(truth[tile.core]), np.asarray(predicted[tile.core]))
        for tile in tiles(truth.shape, TILE)
    ]
    true, found, pixels = (np.concatenate(part) for part in zip(*parts, strict=True))
    true_labels, rows = np.unique(true, return_inverse=True)
    found_labels, columns = np.unique(found, return_inverse=True)
    table = csr_array((pixels, (rows, columns)))  # sums what several tiles counted
    true_areas, found_areas = table.sum(1), table.sum(0)
    a, b = true_labels != 0, found_labels != 0
    objects = table[a][:, b].tocoo()
    return Overlap(
        true_labels[a],
        found_labels[b],
        true_areas[a],
        found_areas[b],
        *objects.coords,
        objects.data,
    )


def iou_matrix(truth: Any, predicted: Any) -> np.ndarray:
    """Intersection over union of every true with every predicted object.

    For images of some hundred objects; of many, ask `matches_at`.

    Parameters
    ----------
    truth, predicted : array-like, (H, W), integer
        As `count_overlap` takes them.

    Returns
    -------
    ndarray, (n_true, n_predicted), float64
        Rows and columns in ascending order of the labels.
    """
    return _matrix(count_overlap(truth, predicted)).toarray()


def match(iou: csr_array | np.ndarray, threshold: float = 0.5) -> Matches:
    """Match objects one to one at an IoU threshold, as many pairs as possible.

    Parameters
    ----------
    iou : csr_array or ndarray, (n_true, n_predicted), float64
        As `iou_matrix` returns it.
    threshold : float
        Smallest IoU of a match, above 0.
    """
    partner = maximum_bipartite_matching(csr_array(iou) >= threshold)
    hits = int((partner >= 0).sum())
    return Matches(hits, iou.shape[1] - hits, iou.shape[0] - hits)


def matches_at(overlap: Overlap, thresholds: Sequence[float]) -> list[Matches]:
    """Match the objects of two label images at each of some IoU thresholds."""
    iou = _matrix(overlap)
    return [match(iou, threshold) for threshold in thresholds]


def dice(overlap: Overlap) -> float:
    """Dice coefficient of the two foregrounds; 1 when both are empty."""
    total = int(overlap.true_areas.sum() + overlap.predicted_areas.sum())
    return 2 * int(overlap.shared.sum()) / total if total else 1.0


def foreground_iou(overlap: Overlap) -> float:
    """Intersection over union of the two foregrounds; 1 when both are empty."""
    shared = int(overlap.shared.sum())
    total = int(overlap.true_areas.sum() + overlap.predicted_areas.sum()) - shared
    return shared / total if total else 1.0


def aggregated_jaccard(overlap: Overlap) -> float:
    """Aggregated Jaccard index (AJI); 1 when there is nothing to find and nothing was found.

    Each true object takes the predicted one of largest IoU (of equals, the one
    of lowest label). The index is the sum of their intersections over the sum
    of their unions, true objects that touch none and predicted ones that none
    took added to the latter. A predicted object that several true ones take
    enters each of their intersections and unions with its whole area, as in
    the paper's algorithm: two nuclei merged into one are punished twice.
    Implementations that pair one to one (cellpose's, which also divides by the
    union of the two foregrounds) give other figures where objects are merged,
    split or overlap several.

    References
    ----------
    Kumar et al., IEEE Trans. Med. Imaging 36:1550 (2017), algorithm 1.
    """
    order = np.lexsort((overlap.columns, -overlap.iou, overlap.rows))
    _, first = np.unique(overlap.rows[order], return_index=True)
    best = order[first]
    missed = overlap.true_areas.sum() - overlap.true_areas[overlap.rows[best]].sum()
    taken = np.unique(overlap.columns[best])
    unused = overlap.predicted_areas.sum() - overlap.predicted_areas[taken].sum()
    total = int(overlap.union[best].sum() + missed + unused)
    return int(overlap.shared[best].sum()) / total if total else 1.0


def panoptic(overlap: Overlap) -> Panoptic:
    """Panoptic quality: the mean IoU of the matched objects times their F1.

    Objects match at IoU above (not at) 0.5, where each has one partner at
    most. Without any match the segmentation quality is not a number and the
    panoptic quality 0; when there is nothing to find and nothing was found,
    recognition and panoptic quality are 1.

    References
    ----------
    Kirillov et al., Panoptic segmentation, CVPR 2019.
    """
    matched = overlap.iou[overlap.iou > 0.5]
    total = len(overlap.true_labels) + len(overlap.predicted_labels)
    recognition = 2 * len(matched) / total if total else 1.0
    if not len(matched):
        return Panoptic(recognition, np.nan, recognition)
    segmentation = float(matched.mean())
    return Panoptic(segmentation * recognition, segmentation, recognition)


def _pairs(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels that meet in a pixel, background included, and in how many."""
    true_labels, rows = np.unique(truth, return_inverse=True)
    found_labels, columns = np.unique(predicted, return_inverse=True)
    keys = np.ravel(rows) * len(found_labels) + np.ravel(columns)
    keys, pixels = np.unique(keys, return_counts=True)
    return (
        true_labels[keys // len(found_labels)],
        found_labels[keys % len(found_labels)],
        pixels,
    )


def _matrix(overlap: Overlap) -> csr_array:
    shape = (len(overlap.true_labels), len(overlap.predicted_labels))
    return csr_array((overlap.iou, (overlap.rows, overlap.columns)), shape=shape)
