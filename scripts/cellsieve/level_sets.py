"""Choose, among all level sets of an image, the regions that look like nuclei.

Every threshold cuts an image into connected regions, and the regions of a
higher threshold lie inside those of a lower one: a tree. No single threshold
suits a field where dim nuclei lie beside glare, so each branch of the tree
gives the region whose outline is most like that of a nucleus. This is the idea
of maximally stable extremal regions (Matas et al., BMVC 2002) and of their use
for cells (Arteta et al., MICCAI 2012), with a score that needs no training.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import ndimage

_WORST_FILL = 0.75


class Shape(NamedTuple):
    """Size and form of every region of a label image, indexed by label (0 unused).

    Attributes
    ----------
    area : ndarray, (n + 1,), float64
        Pixels.
    fill : ndarray, (n + 1,), float64
        Area over the area of the ellipse with the same second moments: 1 for
        an ellipse, about 0.9 for two touching discs, less for branched shapes.
    """

    area: np.ndarray
    fill: np.ndarray


def shapes(labels: np.ndarray) -> Shape:
    """Measure the regions of a small label image.

    Parameters
    ----------
    labels : ndarray, (H, W), integer
        0 = background, labels up to n.
    """
    y, x = np.nonzero(labels)
    label = labels[y, x]
    size = int(labels.max(initial=0)) + 1
    area = np.bincount(label, minlength=size).astype(float)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, values, minlength=size) / np.maximum(area, 1)

    dy, dx = y - mean(y)[label], x - mean(x)[label]
    # a pixel is a square: it adds 1/12 to each variance
    determinant = (mean(dy * dy) + 1 / 12) * (mean(dx * dx) + 1 / 12) - mean(dy * dx) ** 2
    return Shape(area, area / (4 * np.pi * np.sqrt(np.maximum(determinant, 1e-12))))


def edge_strength(labels: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Mean gradient magnitude on each region's inner boundary, indexed by label.

    Parameters
    ----------
    labels : ndarray, (H, W), integer
    gradient : ndarray, (H, W), float
        Counts per pixel.

    Returns
    -------
    ndarray, (n + 1,), float64
    """
    inner = (labels > 0) & (ndimage.minimum_filter(labels, 3) != labels)
    label, size = labels[inner], int(labels.max(initial=0)) + 1
    count = np.bincount(label, minlength=size)
    return np.bincount(label, gradient[inner], minlength=size) / np.maximum(count, 1)


def select_regions(
    smooth: np.ndarray,
    gradient: np.ndarray,
    levels: np.ndarray,
    area: tuple[float, float],
) -> np.ndarray:
    """Label the level-set regions with the best outlines; none contains another.

    Parameters
    ----------
    smooth : ndarray, (H, W), float32
        Smoothed intensity, background removed.
    gradient : ndarray, (H, W), float32
        Gradient magnitude at the same smoothing.
    levels : ndarray, (k,), float
        Ascending thresholds.
    area : tuple of float
        Smallest and largest area of a region in pixels.

    Returns
    -------
    ndarray, (H, W), int32
        0 = no region, labels 1..n.

    Notes
    -----
    A region scores its edge strength times how well it fills its ellipse. From
    the highest level down, a region replaces the best regions inside it when
    its score is at least their area-weighted mean.
    """
    layers = [ndimage.label(smooth > level)[0].astype(np.int32) for level in levels]
    layers = [layer for layer in layers if layer.any()]
    measured = [shapes(layer) for layer in layers]
    parents = [_parents(lower, upper) for lower, upper in pairwise(layers)]
    chosen: list[np.ndarray] = [np.empty(0)] * len(layers)
    inner_best = inner_area = np.zeros(0)
    for k in reversed(range(len(layers))):
        score = _score(measured[k], edge_strength(layers[k], gradient), area)
        if k + 1 < len(layers):
            weight = np.where(inner_best > 0, inner_area, 0)
            total = np.bincount(parents[k], weight, minlength=len(score))
            best = np.bincount(parents[k], weight * inner_best, minlength=len(score))
            best /= np.maximum(total, 1e-9)
        else:
            best = np.zeros_like(score)
        chosen[k] = (score >= best) & (score > 0)
        inner_best, inner_area = np.maximum(score, best), measured[k].area
    return _outermost(layers, parents, chosen, smooth.shape)


def _parents(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Label in ``lower`` that contains each label of ``upper``; 0 for the background."""
    inside = upper > 0
    parent = np.zeros(int(upper.max()) + 1, np.int64)
    parent[upper[inside]] = lower[inside]
    return parent


def _score(shape: Shape, edge: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    form = np.clip((shape.fill - _WORST_FILL) / (1 - _WORST_FILL), 0, 1) ** 2
    score = np.where((shape.area >= area[0]) & (shape.area <= area[1]), form * edge, 0.0)
    score[0] = 0.0
    return score


def _outermost(
    layers: list[np.ndarray],
    parents: list[np.ndarray],
    chosen: list[np.ndarray],
    shape: tuple[int, int],
) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    count = 0
    covered = np.zeros(0, bool)
    for k, layer in enumerate(layers):
        covered = covered[parents[k - 1]] if k else np.zeros(len(chosen[0]), bool)
        new = np.flatnonzero(chosen[k] & ~covered)
        lookup = np.zeros(len(chosen[k]), np.int32)
        lookup[new] = np.arange(count + 1, count + 1 + len(new))
        count += len(new)
        painted = lookup[layer]
        np.copyto(labels, painted, where=painted > 0)
        covered = covered | chosen[k]
    return labels
