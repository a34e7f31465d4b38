"""A first look at a field: how large, how sharp and how noisy its nuclei are."""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.level_sets import edge_strength, select_regions, shapes
from cellsieve.tiles import sample_windows

LEVELS = 24
_SMALLEST_AREA = 30
_LARGEST_SHARE = 0.4  # of a window; what is larger is background, not a nucleus
_GOOD_FILL = 0.9
_NOISE_CONTRAST = 4.0


class Survey(NamedTuple):
    """What the sample windows of a field show.

    Attributes
    ----------
    diameter : float or None
        Typical nucleus diameter in pixels; None when nothing looks like a nucleus.
    sharpness : float or None
        Median over the nuclei of edge gradient × diameter / contrast, without
        unit: how many times the full contrast would rise over one diameter.
        Low when out of focus.
    """

    diameter: float | None
    sharpness: float | None


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of the pixel noise, from differences of neighbours.

    Parameters
    ----------
    image : ndarray, (H, W)

    Returns
    -------
    float
        Counts; at least the quantisation noise of an integer image.
    """
    difference = np.diff(image.astype(np.float32), axis=1)
    floor = 1 / np.sqrt(12) if image.dtype.kind in "iu" else 1e-6 * float(np.ptp(image))
    if not difference.size:
        return floor
    return max(1.4826 * float(np.median(np.abs(difference))) / np.sqrt(2), floor)


def survey(plane: Any) -> Survey:
    """Look at sample windows of a field for nuclei of any size.

    Parameters
    ----------
    plane : array-like, (H, W)
        Camera counts, background not yet removed.

    Returns
    -------
    Survey
    """
    found = [_regions(np.asarray(plane[window])) for window in sample_windows(plane.shape)]
    diameter, weight, sharpness = (np.concatenate(part) for part in zip(*found, strict=True))
    if not len(diameter):
        return Survey(None, None)
    typical = _weighted_median(diameter, weight)
    return Survey(typical, _weighted_median(sharpness, weight))


def _regions(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Diameter, weight and sharpness of each good region of one window."""
    noise = noise_level(image)
    counts = np.maximum(image.astype(np.float32) - np.percentile(image, 2), 0)
    smooth = ndimage.gaussian_filter(counts, 1.0)
    gradient = ndimage.gaussian_gradient_magnitude(counts, 1.0)
    highest = float(np.percentile(smooth, 99.9))
    lowest = max(0.01 * highest, noise)
    if highest <= lowest:
        return np.empty(0), np.empty(0), np.empty(0)
    regions = select_regions(
        smooth,
        gradient,
        np.geomspace(lowest, highest, LEVELS),
        (_SMALLEST_AREA, _LARGEST_SHARE * min(image.shape) ** 2),
    )
    shape, edge = shapes(regions), edge_strength(regions, gradient)
    diameter = 2 * np.sqrt(shape.area / np.pi)
    contrast = _contrast(regions, smooth)
    good = (shape.fill > _GOOD_FILL) & (contrast > _NOISE_CONTRAST * noise)
    good[0] = False
    sharpness = edge * diameter / np.maximum(contrast, 1e-9)
    # strong edges count: debris and haze are many but faint
    return diameter[good], (edge * diameter)[good], sharpness[good]


def _contrast(regions: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Mean inside each region less the mean on a ring 3 px outside it, by label."""
    index = np.arange(int(regions.max()) + 1)
    grown = ndimage.grey_dilation(regions, 7)
    ring = np.where(regions == 0, grown, 0)
    inside = ndimage.mean(smooth, regions, index)
    outside = ndimage.mean(smooth, ring, index)
    return np.nan_to_num(inside - np.where(np.isnan(outside), 0, outside))


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
