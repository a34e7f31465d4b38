"""What an engine must know of the whole field, measured once on sample windows."""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.level_sets import edge_strength, select_regions, shapes
from cellsieve.survey import noise_level, nuclear_weights, weighted_median
from cellsieve.tiles import sample_windows

LEVELS = 24
_SMOOTHING = 0.05  # Gaussian sigma in diameters
_DARKEST = 0.01  # of the highest threshold
_RANGE = 8.0  # highest threshold in typical cores
_STRONGEST_EDGE = 0.3  # of that of large regions: enough to tell haze from nuclei
_MARKER_AREA = (0.06, 4.0)  # in areas of a typical nucleus


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
    smoothed = [smooth_and_gradient(window, diameter) for window in windows]
    noise = max(noise_level(window) for window in windows)
    lowest = 3 * noise / (1 + sigma(diameter))
    highest = float(max(np.percentile(smooth, 99.9) for smooth, _ in smoothed))
    if highest <= lowest:
        return None
    first = _measured(smoothed, _within(diameter, lowest, highest))
    # debris may outshine all nuclei: the second look spends its levels on the nuclei
    return first and _measured(
        smoothed, _within(diameter, lowest, min(highest, _RANGE * first.core))
    )


def _within(diameter: float, lowest: float, highest: float) -> Scale:
    return Scale(diameter, max(lowest, _DARKEST * highest), highest, 0.0, 0.0)


def _measured(smoothed: list[tuple[np.ndarray, np.ndarray]], scale: Scale) -> Scale | None:
    """Fill in core and edge from the regions found in a range of thresholds."""
    cores, edges, areas = [], [], []
    for smooth, gradient in smoothed:
        regions = nuclear_regions(smooth, gradient, scale)
        area = shapes(regions).area
        typical = np.flatnonzero(area > 0.3 * scale.area)
        areas.append(area[typical])
        edges.append(edge_strength(regions, gradient)[typical])
        cores.append(ndimage.mean(smooth, regions, typical) if len(typical) else [])
    area, edge, core = (np.concatenate(part) for part in (areas, edges, cores))
    if not len(area):
        return None
    weight = nuclear_weights(np.sqrt(area), edge, _STRONGEST_EDGE)
    return scale._replace(core=weighted_median(core, weight), edge=weighted_median(edge, weight))


def sigma(diameter: float) -> float:
    """Gaussian sigma in pixels at which nuclei of this diameter are looked at."""
    return max(0.7, _SMOOTHING * diameter)


def smooth_and_gradient(image: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed intensity and its gradient magnitude, float32 like the image in shape."""
    image = image.astype(np.float32)
    return (
        ndimage.gaussian_filter(image, sigma(diameter)),
        ndimage.gaussian_gradient_magnitude(image, sigma(diameter)),
    )


def nuclear_regions(smooth: np.ndarray, gradient: np.ndarray, scale: Scale) -> np.ndarray:
    """Label the level-set regions of nuclear size that look most like nuclei."""
    levels = np.geomspace(scale.lowest, scale.highest, LEVELS)
    smallest, largest = (share * scale.area for share in _MARKER_AREA)
    return select_regions(smooth, gradient, levels, (smallest, largest))
