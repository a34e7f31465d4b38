"""A first look at a field: how large, how sharp and how noisy its nuclei are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.level_sets import edge_strength, select_regions, shapes
from cellsieve.resolution import Reduced

LEVELS = 24
_SMALLEST_AREA = 30
_LARGEST_SHARE = 0.4  # of a window; what is larger is background, not a nucleus
_GOOD_FILL = 0.9
_NOISE_CONTRAST = 8.0  # over the root of the diameter: bumps of noise are small
_STRONGEST_EDGE = 3.0  # of that of large regions
_GLARE = 5.0
_OVERVIEW = 1536  # pixels


class Survey(NamedTuple):
    """What the sample windows of a field show.

    Attributes
    ----------
    diameter : float or None
        Typical nucleus diameter in pixels; None when nothing looks like a nucleus.
    sharpness : float or None
        Median over the nuclei of edge gradient × diameter / intensity above
        the background, without unit: how often an edge as steep would rise to
        the nucleus over one diameter. 4 to 10 in focus; below 3 when blurred by
        more than an eighth of a diameter, as measured on published images.
    contrast : float or None
        Typical brightness of the nuclei above their surroundings, counts.
    """

    diameter: float | None
    sharpness: float | None
    contrast: float | None


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


def survey(plane: Any, windows: Sequence[tuple[slice, slice]]) -> Survey:
    """Look at sample windows of a field for nuclei of any size.

    Parameters
    ----------
    plane : array-like, (H, W)
        Camera counts, background not yet removed.
    windows : sequence of tuple of slice
        From `cellsieve.tiles.sample_windows`. When they show no nuclei, the
        field is looked at as a whole, at less resolution: nuclei may be larger
        than a window.

    Returns
    -------
    Survey
    """
    found = _look(plane, windows)
    factor = -(-max(plane.shape) // _OVERVIEW)
    if found.diameter or factor == 1:
        return found
    small = Reduced(plane, factor)
    found = _look(small, [tuple(slice(0, length) for length in small.shape)])
    return found._replace(diameter=found.diameter * factor) if found.diameter else found


def _look(plane: Any, windows: Sequence[tuple[slice, slice]]) -> Survey:
    cut = len(windows) > 1
    found = [_regions(np.asarray(plane[window]), cut) for window in windows]
    diameter, edge, *others = (np.concatenate(part) for part in zip(*found, strict=True))
    if not len(diameter):
        return Survey(None, None, None)
    weight = nuclear_weights(diameter, edge, _STRONGEST_EDGE)
    return Survey(*(weighted_median(values, weight) for values in (diameter, *others)))


def nuclear_weights(diameter: np.ndarray, edge: np.ndarray, strongest: float) -> np.ndarray:
    """Weigh regions so that nuclei decide what is typical of a field.

    Parameters
    ----------
    diameter, edge : ndarray, (n,), float
        Size and edge strength of regions, n > 0.
    strongest : float
        An edge counts up to this multiple of the edge of the large regions.

    Returns
    -------
    ndarray, (n,), float64
        Diameter times edge strength: haze, noise and dust are many but faint
        or small. What has five times the edge of the large regions is glaring
        debris and weighs nothing.
    """
    large = weighted_median(edge, diameter**3)
    return diameter * np.minimum(edge, strongest * large) * (edge <= _GLARE * large)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value up to which half of the weight lies."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _regions(image: np.ndarray, cut: bool) -> tuple[np.ndarray, ...]:
    """Diameter, edge strength, sharpness and contrast of each good region of one window.

    Where a window cuts the plane, what touches its sides has no known size.
    """
    noise = noise_level(image)
    counts = np.maximum(image.astype(np.float32) - np.percentile(image, 2), 0)
    smooth = ndimage.gaussian_filter(counts, 1.0)
    gradient = ndimage.gaussian_gradient_magnitude(counts, 1.0)
    highest = float(np.percentile(smooth, 99.9))
    lowest = max(0.01 * highest, noise)
    if highest <= lowest:
        return (np.empty(0),) * 4
    regions = select_regions(
        smooth,
        gradient,
        np.geomspace(lowest, highest, LEVELS),
        (_SMALLEST_AREA, _LARGEST_SHARE * min(image.shape) ** 2),
    )
    shape, edge = shapes(regions), edge_strength(regions, gradient)
    diameter = 2 * np.sqrt(shape.area / np.pi)
    intensity, contrast = _brightness(regions, smooth)
    good = (shape.fill > _GOOD_FILL) & (contrast * np.sqrt(diameter) > _NOISE_CONTRAST * noise)
    good[0] = False
    if cut:
        for side in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
            good[side] = False
    # not over the contrast: around a blurred nucleus that falls as the edge does
    sharpness = edge * diameter / np.maximum(intensity, 1e-9)
    return diameter[good], edge[good], sharpness[good], contrast[good]


def _brightness(regions: np.ndarray, smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean inside each region, and the same less the mean on a ring 3 px outside, by label."""
    index = np.arange(int(regions.max()) + 1)
    grown = ndimage.grey_dilation(regions, 7)
    ring = np.where(regions == 0, grown, 0)
    inside = np.nan_to_num(ndimage.mean(smooth, regions, index))
    outside = np.nan_to_num(ndimage.mean(smooth, ring, index))
    return inside, inside - outside
