"""Seeded region growing: a region takes in the pixels around it that are like it."""

import numpy as np
from scipy import ndimage

from cellsieve.coarse.finishing import add_rests, finish, keep, outlined
from cellsieve.coarse.foreground import foreground
from cellsieve.coarse.scale import Scale, nuclear_regions, smooth_and_gradient

_UNLIKE = 0.5  # largest difference from a region's mean, as a share of the mean
_FARTHEST = 1.0  # rounds of growth, in diameters


def region_growing(image: np.ndarray, scale: Scale) -> np.ndarray:
    """Grow nuclei from seeds while the pixels around them are like them.

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
    After Adams and Bischof (IEEE Trans. Pattern Anal. Mach. Intell. 16, 641,
    1994), with the pixels around all regions decided in rounds rather than one
    by one. Seeds are the level-set regions that look most like nuclei
    (`cellsieve.level_sets`).
    """
    smooth, gradient = smooth_and_gradient(image, scale.diameter)
    seeds = nuclear_regions(smooth, gradient, scale)
    seeds = keep(seeds, outlined(seeds, gradient, scale))
    labels = grow(smooth, seeds, foreground(smooth, scale), int(_FARTHEST * scale.diameter))
    return finish(add_rests(labels, smooth, scale), smooth, gradient, scale)


def grow(smooth: np.ndarray, seeds: np.ndarray, mask: np.ndarray, rounds: int) -> np.ndarray:
    """Let every seed take in the pixels around it whose intensity is near its mean.

    Parameters
    ----------
    smooth : ndarray, (H, W), float
    seeds : ndarray, (H, W), int32
        Labels up to n.
    mask : ndarray, (H, W), bool
        Where regions may grow.
    rounds : int
        Largest distance that a region grows, in pixels.

    Returns
    -------
    ndarray, (H, W), int32
        In each round a pixel beside a region joins it when it differs from the
        region's mean by at most half of it; between two regions, the more alike.
    """
    labels = seeds.copy()
    size = int(seeds.max(initial=0)) + 1
    count = np.bincount(seeds.ravel(), minlength=size)
    total = np.bincount(seeds.ravel(), smooth.ravel(), minlength=size)
    for _ in range(rounds):
        mean = total / np.maximum(count, 1)
        pixels, joined = _joining(smooth, labels, mask, mean)
        if not len(pixels):
            break
        labels.ravel()[pixels] = joined
        count += np.bincount(joined, minlength=size)
        total += np.bincount(joined, smooth.ravel()[pixels], minlength=size)
    return labels


def _joining(
    smooth: np.ndarray, labels: np.ndarray, mask: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the pixels that join a region now, and the regions."""
    largest = ndimage.maximum_filter(labels, 3)
    pixels = np.flatnonzero((labels == 0) & (largest > 0) & mask)
    beside = np.where(labels > 0, labels, len(mean))
    smallest = ndimage.minimum_filter(beside, 3).ravel()[pixels]
    choice = np.stack([largest.ravel()[pixels], smallest])
    unlike = np.abs(smooth.ravel()[pixels] / mean[choice] - 1)
    better = unlike.argmin(axis=0)
    column = np.arange(len(pixels))
    alike = unlike[better, column] <= _UNLIKE
    return pixels[alike], choice[better, column][alike]
