"""What shines beside a nucleus: micronuclei and blebs lie outside its outline."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.objects import Batch, batches

REACH = 0.5  # diameters around a nucleus that are its surroundings
_EDGE = 1 / 16  # diameters beside every outline that its blurred light fills
_SPECK = 1 / 24  # Gaussian sigma that a speck is seen with, in diameters
_GROUND = 1 / 8  # and the one of the light around it
_TINY = 1e-6


def brightest_specks(
    dapi: Any, nuclei: Any, ruler: Ruler, boxes: pd.DataFrame | None = None
) -> pd.Series:
    """Measure the brightest speck in the surroundings of each nucleus.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    nuclei : array-like, (H, W), integer
        Instance labels.
    ruler : Ruler
    boxes : DataFrame, optional
        As `cellsieve.objects.batches` takes them.

    Returns
    -------
    Series, float64
        Indexed by label, ascending: how much brighter than the light around it the
        speck is, relative to the mean of the nucleus; 0 where there is none. A
        place between nuclei belongs to the nearest one.
    """
    scale = ruler.diameter / ruler.zoom
    margin = int(np.ceil(2 * REACH * scale)) + 2  # a neighbour's claim, too
    parts = [_specks(dapi, nuclei, batch, scale) for batch in batches(nuclei, margin, boxes)]
    return pd.concat(parts).sort_index() if parts else pd.Series(dtype=float)


def _specks(dapi: Any, nuclei: Any, batch: Batch, scale: float) -> pd.Series:
    labels = np.asarray(nuclei[batch.region])
    counts = np.asarray(dapi[batch.region], np.float32)
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    outside = distance > max(1.0, _EDGE * scale)
    contrast = _mean_outside(counts, outside, _SPECK * scale)
    contrast -= _mean_outside(counts, outside, _GROUND * scale)
    numbers = batch.number(labels)
    beside = outside & (distance <= REACH * scale)
    highest = np.zeros(len(batch.labels) + 1)
    np.maximum.at(highest, numbers[tuple(at[beside] for at in nearest)], contrast[beside])
    light = np.bincount(numbers.ravel(), counts.ravel()) / np.bincount(numbers.ravel())
    relative = highest[1:] / np.maximum(light[1:], _TINY)
    return pd.Series(relative, pd.Index(batch.labels, name="cell"))


def _mean_outside(counts: np.ndarray, outside: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean of the pixels outside all nuclei."""
    weight = outside.astype(np.float32)
    sums = (
        ndimage.gaussian_filter(part, max(0.5, sigma), mode="constant")
        for part in (counts * weight, weight)
    )
    total, share = sums
    return total / np.maximum(share, 1e-3)
