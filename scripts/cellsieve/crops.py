"""The crop of a nucleus: itself and what lies beside it, its neighbours faded."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.anomaly.surroundings import REACH
from cellsieve.rescaled import Rescaled

SIDE = 64  # pixels of a crop
DIAMETER = 24  # pixels of a typical nucleus of the reference in it, if nothing else is asked for
_FADE = 4  # pixels over which the surroundings fade to nothing


def cut_crops(
    dapi: Any,
    nuclei: Any,
    boxes: pd.DataFrame,
    ruler: Ruler,
    intensity: float,
    diameter: int = DIAMETER,
) -> np.ndarray:
    """Cut the crop of each nucleus.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    nuclei : array-like, (H, W), integer
        Instance labels.
    boxes : DataFrame
        Of the wanted nuclei, as `cellsieve.objects.bounding_boxes` gives them.
    ruler : Ruler
        All crops have the reference's scale: a large nucleus looks large.
    intensity : float
        Of a typical nucleus of the field, counts.
    diameter : int
        Pixels of a typical nucleus of the reference in a crop.

    Returns
    -------
    ndarray, (n, 2, SIDE, SIDE), float16
        Intensity relative to a typical nucleus, 0 on neighbours and further than
        half a diameter from the nucleus; and where the nucleus is, 1 or 0. Beyond
        the field everything is 0.
    """
    view = Rescaled(dapi, diameter * ruler.zoom / ruler.diameter)
    crops = np.zeros((len(boxes), 2, SIDE, SIDE), np.float16)
    for crop, (label, box) in zip(crops, boxes.iterrows(), strict=True):
        middle = (box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2
        starts = [round(at * view.scale - SIDE / 2) for at in middle]
        inside = [
            slice(min(max(-s, 0), SIDE), max(min(length - s, SIDE), 0))
            for s, length in zip(starts, view.shape, strict=True)
        ]
        region = tuple(slice(s + i.start, s + i.stop) for s, i in zip(starts, inside, strict=True))
        labels = sampled_labels(nuclei, region, view.scale)
        own, other = labels == label, (labels > 0) & (labels != label)
        light = view[region] / max(intensity, 1e-6)
        crop[0][tuple(inside)] = light * _shown(own, other, diameter)
        crop[1][tuple(inside)] = own
    return crops


def sampled_labels(
    nuclei: Any, region: tuple[slice, slice], scale: float, step: int = 1
) -> np.ndarray:
    """Return the labels under the pixels of a region of a view.

    Parameters
    ----------
    nuclei : array-like, (H, W), integer
    region : tuple of slice
        In pixels of the view, within it.
    scale : float
        Pixels of the view per pixel of ``nuclei``.
    step : int
        Only every so many pixels of the view.
    """
    places = [
        np.minimum(((np.arange(r.start, r.stop, step) + step / 2) / scale).astype(int), length - 1)
        for r, length in zip(region, nuclei.shape, strict=True)
    ]
    rows, cols = (slice(int(p[0]), int(p[-1]) + 1) for p in places)
    block = np.asarray(nuclei[rows, cols])
    return block[np.ix_(places[0] - places[0][0], places[1] - places[1][0])]


def _shown(own: np.ndarray, other: np.ndarray, diameter: int) -> np.ndarray:
    """Weight of each pixel: 1 on the nucleus and near it, 0 on its neighbours and far away."""
    distance = ndimage.distance_transform_edt(~own)
    near = np.clip((REACH * diameter + _FADE / 2 - distance) / _FADE, 0, 1)
    # a pixel beside a neighbour shows its blurred light
    blocked = ndimage.binary_dilation(other) & ~own
    return near * ~blocked
