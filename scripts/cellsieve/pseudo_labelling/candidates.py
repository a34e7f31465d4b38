"""Measure what a coarse segmentation found: size, form, mask and a point well inside."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.measure import regionprops_table
from tqdm import tqdm

from cellsieve.objects import Batch, batches
from cellsieve.pseudo_labelling.run_length import encode
from cellsieve.pseudo_labelling.shape_limits import ShapeLimits

_COLUMNS = {  # of regionprops_table
    "label": "label",
    "bbox-0": "top_px",
    "bbox-1": "left_px",
    "bbox-2": "bottom_px",
    "bbox-3": "right_px",
    "area": "area_px",
    "axis_major_length": "length_px",
    "axis_minor_length": "width_px",
    "perimeter_crofton": "perimeter_px",
    "solidity": "solidity",
    "image": "image",
}
_WELL_INSIDE = 0.5  # of the greatest depth


def measure_candidates(labels: Any) -> pd.DataFrame:
    """Measure every candidate, a few at a time.

    Parameters
    ----------
    labels : array-like, (H, W), integer
        0 = background; read a region at a time.

    Returns
    -------
    DataFrame
        A row a label, ascending: ``label``, ``y_px``, ``x_px`` (see
        `inner_point`), ``top_px, left_px, bottom_px, right_px``, ``mask``
        (`cellsieve.pseudo_labelling.run_length`), ``area_px, length_px, width_px, roundness,
        solidity``. Roundness is 4π area / perimeter² with Crofton's estimate
        of the perimeter, at most 1.
    """
    work = tqdm(list(batches(labels)), desc="candidates", unit="batch", disable=None)
    parts = [_measure_batch(labels, batch) for batch in work]
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts).sort_values("label", ignore_index=True)


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """Find a point well inside a mask: its centroid, or its deepest pixel.

    Parameters
    ----------
    mask : ndarray, (h, w), bool
        At least one pixel set.

    Returns
    -------
    tuple of float
        ``(y, x)``. The centroid when it is at least half as deep as the deepest
        pixel, which it is in anything convex.
    """
    centroid = tuple(float(coordinate.mean()) for coordinate in np.nonzero(mask))
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    if depth[tuple(round(c) for c in centroid)] >= _WELL_INSIDE * depth.max():
        return centroid
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return float(y), float(x)


def judge_candidates(table: pd.DataFrame, diameter: float, limits: ShapeLimits) -> pd.DataFrame:
    """Add to candidates whether they are kept, and why not.

    Parameters
    ----------
    table : DataFrame
        From `measure_candidates`.
    diameter : float
        Of a typical nucleus, in pixels.
    limits : ShapeLimits

    Returns
    -------
    DataFrame
        With ``kept`` (bool) and ``reason`` (faults joined by "; ").
    """
    reasons = [
        "; ".join(limits.faults(candidate, diameter)) for candidate in table.to_dict("records")
    ]
    return table.assign(kept=[not reason for reason in reasons], reason=reasons)


def _measure_batch(labels: Any, batch: Batch) -> pd.DataFrame:
    present = np.asarray(labels[batch.region])
    # consecutive numbers: regionprops would visit every number up to the largest
    place = np.searchsorted(batch.labels, present).clip(max=len(batch.labels) - 1)
    numbers = np.where(batch.labels[place] == present, place + 1, 0)
    names = [name for name in _COLUMNS if "-" not in name]
    table = pd.DataFrame(regionprops_table(numbers, properties=("bbox", *names)))
    table = table.rename(columns=_COLUMNS)
    table["label"] = batch.labels[table["label"] - 1]
    table["mask"] = [encode(image) for image in table["image"]]
    points = np.array([inner_point(image) for image in table.pop("image")])
    y, x = (s.start for s in batch.region)
    table[["top_px", "bottom_px"]] += y
    table[["left_px", "right_px"]] += x
    table["y_px"] = table["top_px"] + points[:, 0]
    table["x_px"] = table["left_px"] + points[:, 1]
    perimeter = table.pop("perimeter_px")
    table["roundness"] = (4 * np.pi * table["area_px"] / perimeter**2).clip(upper=1)
    return table
