"""Foreground by a threshold that follows the surroundings within global bounds."""

import numpy as np
from scipy import ndimage

from cellsieve.coarse.scale import Scale

_REACH = 1.0  # Gaussian sigma of the surroundings, in diameters
_LOWEST, _HIGHEST = 0.2, 0.45  # bounds of the threshold, in typical cores


def foreground(smooth: np.ndarray, scale: Scale) -> np.ndarray:
    """Mark what is brighter than its surroundings.

    Parameters
    ----------
    smooth : ndarray, (H, W), float32
        Smoothed counts above the background.
    scale : Scale

    Returns
    -------
    ndarray, (H, W), bool

    Notes
    -----
    The threshold is the mean around a pixel, where glare counts no more than a
    typical core. In empty parts it does not fall below a share of a typical
    core, or noise would pass; in crowded ones it does not rise above another,
    or nuclei would not pass for other nuclei around them.
    """
    around = ndimage.gaussian_filter(np.minimum(smooth, scale.core), _REACH * scale.diameter)
    threshold = np.clip(around, _LOWEST * scale.core, _HIGHEST * scale.core)
    return smooth > np.maximum(threshold, scale.lowest)
