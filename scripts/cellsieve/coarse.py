"""Classical segmentation of nuclei: no training, no annotation.

An engine is a function ``engine(image, scale) -> labels`` on one piece of a
field; `ENGINES` names them all. What depends on the whole field (`Scale`) is
measured once, so that a piece is segmented alike wherever it is cut.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage import measure, morphology, segmentation

from cellsieve.level_sets import edge_strength, select_regions, shapes
from cellsieve.survey import noise_level
from cellsieve.tiles import sample_windows

LEVELS = 24
_SMOOTHING = 0.05  # Gaussian sigma in diameters
_MARKER_AREA = (0.06, 4.0)  # in areas of a typical nucleus
_SMALLEST = 0.12  # areas of a typical nucleus
_WEAKEST_EDGE = 0.3  # of a typical nucleus' edge
_OUTLINE = 0.45  # an outline runs where the intensity is this share of its core's
_REST_LEVEL = 0.35  # share of a typical core that a nucleus without a marker reaches
_REST_AREA = 0.25
_REST_FILL = 0.88
_SPLIT_FILL = 0.97  # an object below this may be several
_SPLIT_DEPTH = 0.03  # of the distance transform, in diameters
_SPLIT_GAIN = 0.01  # in fill, that makes parts better than the whole
_WORST_FILL = 0.75


class Scale(NamedTuple):
    """What an engine must know of the whole field.

    Attributes
    ----------
    diameter : float
        Typical nucleus diameter in pixels.
    lowest, highest : float
        Range of the thresholds, in background-subtracted counts.
    core : float
        Typical intensity of a nucleus' core, counts.
    edge : float
        Typical gradient on a nucleus' outline, counts per pixel.
    """

    diameter: float
    lowest: float
    highest: float
    core: float
    edge: float

    @property
    def area(self) -> float:
        """Area of a typical nucleus in pixels."""
        return np.pi * self.diameter**2 / 4


def measure_scale(plane: Any, diameter: float) -> Scale | None:
    """Measure intensities and edges of a field's nuclei on sample windows.

    Parameters
    ----------
    plane : array-like, (H, W)
        Background-subtracted counts.
    diameter : float
        Typical nucleus diameter in pixels.

    Returns
    -------
    Scale or None
        None when nothing rises above the noise.
    """
    windows = [np.asarray(plane[window]) for window in sample_windows(plane)]
    sigma = _sigma(diameter)
    smoothed = [_smooth(window, sigma) for window in windows]
    highest = float(max(np.percentile(smooth, 99.9) for smooth, _ in smoothed))
    noise = max(noise_level(window) for window in windows)
    lowest = max(3 * noise / (1 + sigma), 0.01 * highest)
    if highest <= lowest:
        return None
    guess = Scale(diameter, lowest, highest, 0.0, 0.0)
    cores, edges = [], []
    for smooth, gradient in smoothed:
        markers = _markers(smooth, gradient, guess)
        typical = np.flatnonzero(shapes(markers).area > 0.3 * guess.area)
        edges.append(edge_strength(markers, gradient)[typical])
        cores.append(ndimage.mean(smooth, markers, typical) if len(typical) else [])
    core, edge = np.concatenate(cores), np.concatenate(edges)
    if not len(core):
        return None
    return guess._replace(core=float(np.median(core)), edge=float(np.median(edge)))


def watershed(image: np.ndarray, scale: Scale) -> np.ndarray:
    """Marker-controlled watershed with one outline level for each nucleus.

    Parameters
    ----------
    image : ndarray, (H, W)
        Background-subtracted counts.
    scale : Scale
        Of the field that the image is a piece of.

    Returns
    -------
    ndarray, (H, W), int32
        Instance labels; 0 = background.

    Notes
    -----
    Markers are the level-set regions that look most like nuclei
    (`cellsieve.level_sets`). Flooding from them gives each a basin, in which
    the nucleus is what reaches 45 % of its core's intensity. Bright rests
    without a marker become objects of their own; objects of a shape that no
    single nucleus has are split along the necks of their distance transform.
    """
    smooth, gradient = _smooth(image, _sigma(scale.diameter))
    markers = _markers(smooth, gradient, scale)
    strong = edge_strength(markers, gradient) >= _WEAKEST_EDGE * scale.edge
    markers = _keep(markers, strong)
    labels = _outlines(smooth, markers, scale)
    labels = _add_rests(labels, smooth, scale)
    labels = _split(labels, scale)
    labels = _tidy(labels, scale)
    shape = shapes(labels)
    return _keep(
        labels,
        (shape.area >= _SMALLEST * scale.area)
        & (shape.fill >= _WORST_FILL)
        & (edge_strength(labels, gradient) >= _WEAKEST_EDGE * scale.edge),
    )


ENGINES: dict[str, Callable[[np.ndarray, Scale], np.ndarray]] = {"watershed": watershed}


def _sigma(diameter: float) -> float:
    return max(0.7, _SMOOTHING * diameter)


def _smooth(image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    image = image.astype(np.float32)
    return (
        ndimage.gaussian_filter(image, sigma),
        ndimage.gaussian_gradient_magnitude(image, sigma),
    )


def _markers(smooth: np.ndarray, gradient: np.ndarray, scale: Scale) -> np.ndarray:
    levels = np.geomspace(scale.lowest, scale.highest, LEVELS)
    smallest, largest = (share * scale.area for share in _MARKER_AREA)
    return select_regions(smooth, gradient, levels, (smallest, largest))


def _outlines(smooth: np.ndarray, markers: np.ndarray, scale: Scale) -> np.ndarray:
    if not markers.any():
        return markers
    basins = segmentation.watershed(-smooth, markers, mask=(smooth > scale.lowest) | (markers > 0))
    core = np.full(int(markers.max()) + 1, np.inf)
    present = np.unique(markers)[1:]
    core[present] = ndimage.mean(smooth, markers, present)
    return np.where(smooth >= _OUTLINE * core[basins], basins, 0)


def _add_rests(labels: np.ndarray, smooth: np.ndarray, scale: Scale) -> np.ndarray:
    bright = (labels == 0) & (smooth > _REST_LEVEL * scale.core)
    radius = max(1, int(0.15 * scale.diameter))
    rests, _ = ndimage.label(morphology.opening(bright, morphology.disk(radius)))
    shape = shapes(rests)
    rests = _keep(rests, (shape.area >= _REST_AREA * scale.area) & (shape.fill > _REST_FILL))
    return np.where(rests > 0, rests + labels.max(initial=0), labels)


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


def _keep(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Drop the labels whose entry in ``kept`` is false and number the rest anew."""
    kept = kept.copy()
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]
