"""From rough labels to outlines of single nuclei: what every engine ends with."""

import numpy as np
from scipy import ndimage
from skimage import measure, morphology, segmentation

from cellsieve.coarse.scale import Scale
from cellsieve.level_sets import edge_strength, shapes

_OUTLINE = 0.45  # an outline runs where the intensity is this share of its core's
_SMALLEST = 0.12  # areas of a typical nucleus
_WORST_FILL = 0.75
_WEAK_EDGE = 0.3  # of a typical nucleus' edge; below this only the best form is believed
_WEAKEST_EDGE = 0.08
_WEAK_FILL = 0.98
_WEAK_AREA = 0.4
_GLARE = 8.0  # typical cores; what is brighter is no nucleus
_REST_LEVEL = 0.35  # share of a typical core that a nucleus nobody found reaches
_REST_AREA = 0.25
_REST_FILL = 0.88
_SPLIT_FILL = 0.97  # an object below this may be several
_SPLIT_DEPTH = 0.03  # of the distance transform, in diameters
_SPLIT_GAIN = 0.01  # in fill, that makes parts better than the whole


def finish(
    labels: np.ndarray, smooth: np.ndarray, gradient: np.ndarray, scale: Scale
) -> np.ndarray:
    """Split, smooth and sift the objects that an engine has found.

    Parameters
    ----------
    labels : ndarray, (H, W), int32
        Rough instance labels.
    smooth, gradient : ndarray, (H, W), float32
        From `cellsieve.coarse.scale.smooth_and_gradient`.
    scale : Scale

    Returns
    -------
    ndarray, (H, W), int32
        Objects of a form that no single nucleus has are split along the necks
        of their distance transform, holes filled, outlines opened by a small
        disc, and small, ragged, weak-edged and glaring objects dropped.
    """
    labels = _tidy(_split(labels, scale), scale)
    shape = shapes(labels)
    core = ndimage.mean(smooth, labels, np.arange(len(shape.area)))
    return keep(
        labels,
        (shape.area >= _SMALLEST * scale.area)
        & (shape.fill >= _WORST_FILL)
        & (core <= _GLARE * scale.core)
        & outlined(labels, gradient, scale),
    )


def outlined(labels: np.ndarray, gradient: np.ndarray, scale: Scale) -> np.ndarray:
    """Whether the edge of each object, (n + 1,) bool by label, is that of a nucleus.

    Haze has weak edges, and so have dim nuclei; but haze has no form.
    """
    shape, edge = shapes(labels), edge_strength(labels, gradient) / scale.edge
    well_formed = (shape.fill >= _WEAK_FILL) & (shape.area >= _WEAK_AREA * scale.area)
    return (edge >= _WEAK_EDGE) | (well_formed & (edge >= _WEAKEST_EDGE))


def outline(labels: np.ndarray, cores: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Cut each object to what reaches a share of its own core.

    Every nucleus has a threshold of its own, so that dim ones beside bright
    ones keep their true size.

    Parameters
    ----------
    labels : ndarray, (H, W), int32
    cores : ndarray, (n + 1,), float
        Intensity of each object's core, by label.
    smooth : ndarray, (H, W), float32

    Returns
    -------
    ndarray, (H, W), int32
    """
    return np.where(smooth >= _OUTLINE * cores[labels], labels, 0)


def add_rests(labels: np.ndarray, smooth: np.ndarray, scale: Scale) -> np.ndarray:
    """Add what is bright and of nuclear size and form, but belongs to no object yet."""
    bright = (labels == 0) & (smooth > _REST_LEVEL * scale.core)
    radius = max(1, int(0.15 * scale.diameter))
    rests, _ = ndimage.label(morphology.opening(bright, morphology.disk(radius)))
    shape = shapes(rests)
    rests = keep(rests, (shape.area >= _REST_AREA * scale.area) & (shape.fill > _REST_FILL))
    return np.where(rests > 0, rests + labels.max(initial=0), labels)


def keep(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Drop the labels whose entry in ``kept`` is false and number the rest anew."""
    kept = kept.copy()
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]


def _split(labels: np.ndarray, scale: Scale) -> np.ndarray:
    labels = labels.copy()
    shape = shapes(labels)
    doubtful = (shape.fill < _SPLIT_FILL) & (shape.area > 0.4 * scale.area)
    boxes = ndimage.find_objects(labels)
    following = int(labels.max(initial=0)) + 1
    for label in np.flatnonzero(doubtful[1:]) + 1:
        view = labels[boxes[label - 1]]
        parts = _parts(view == label, scale)
        if parts is None or not _better(parts, shape.fill[label], scale):
            continue
        for part in range(2, int(parts.max()) + 1):
            view[(parts == part) & (view == label)] = following
            following += 1
    return labels


def _parts(mask: np.ndarray, scale: Scale) -> np.ndarray | None:
    """Cut a mask at the necks of its distance transform; None when it has none."""
    mask = ndimage.binary_fill_holes(np.pad(mask, 2))
    depth = ndimage.gaussian_filter(
        ndimage.distance_transform_edt(mask), max(0.5, 0.04 * scale.diameter)
    )
    tops = measure.label(morphology.h_maxima(depth, max(0.4, _SPLIT_DEPTH * scale.diameter)))
    tops[~mask] = 0
    if tops.max() < 2:
        return None
    return segmentation.watershed(-depth, tops, mask=mask)[2:-2, 2:-2]


def _better(parts: np.ndarray, fill: float, scale: Scale) -> bool:
    shape = shapes(parts)
    if shape.area[1:].min() < _SMALLEST * scale.area:
        return False
    return np.average(shape.fill[1:], weights=shape.area[1:]) >= fill + _SPLIT_GAIN


def _tidy(labels: np.ndarray, scale: Scale) -> np.ndarray:
    """Fill holes, open by a small disc and keep the largest piece of each object."""
    tidied = np.zeros_like(labels)
    radius = max(1, round(0.06 * scale.diameter))
    disc = morphology.disk(radius)
    pad = radius + 1
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        mask = ndimage.binary_fill_holes(np.pad(labels[box] == label, pad))
        opened = ndimage.binary_opening(mask, disc)
        pieces, count = ndimage.label(opened if opened.any() else mask)
        if count > 1:
            pieces = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        inside = pieces[pad:-pad, pad:-pad] > 0
        view = tidied[box]
        view[inside & ((labels[box] == label) | (labels[box] == 0))] = label
    return tidied
