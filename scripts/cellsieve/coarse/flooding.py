"""Watershed from markers, with one outline level for each nucleus."""

import numpy as np
from scipy import ndimage
from skimage import segmentation

from cellsieve.coarse.finishing import add_rests, finish, keep, outline, outlined
from cellsieve.coarse.scale import Scale, nuclear_regions, smooth_and_gradient


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
    without a marker become objects of their own.
    """
    smooth, gradient = smooth_and_gradient(image, scale.diameter)
    markers = nuclear_regions(smooth, gradient, scale)
    markers = keep(markers, outlined(markers, gradient, scale))
    basins = segmentation.watershed(-smooth, markers, mask=(smooth > scale.lowest) | (markers > 0))
    cores = ndimage.mean(smooth, markers, np.arange(int(markers.max(initial=0)) + 1))
    labels = outline(basins, cores, smooth)
    return finish(add_rests(labels, smooth, scale), smooth, gradient, scale)
