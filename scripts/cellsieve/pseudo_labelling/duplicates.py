"""Masks of one field that show the same object twice."""

import numpy as np
import pandas as pd

from cellsieve.pseudo_labelling.mask_table import BOX, intersection, touching_boxes


def duplicates(masks: pd.DataFrame, threshold: float) -> np.ndarray:
    """For each mask, the better one that it repeats.

    Two masks show the same object when their IoU is above the threshold; the
    one of lower predicted IoU (of equal ones, the later) repeats the other. A
    mask that repeats another hides none itself.

    Parameters
    ----------
    masks : DataFrame
        Boxes and masks as in `cellsieve.pseudo_labelling.mask_table`, ``area_px`` and
        ``predicted_iou``.
    threshold : float
        IoU, 0 to 1.

    Returns
    -------
    ndarray, (n,), int64
        Position of the better mask, -1 where there is none.
    """
    alike = _alike(masks, threshold)
    repeats = np.full(len(masks), -1)
    best_first = np.argsort(-masks["predicted_iou"].to_numpy(np.float64), kind="stable")
    for row in best_first:
        if repeats[row] < 0:
            repeats[[other for other in alike[row] if repeats[other] < 0]] = row
    return repeats


def _alike(masks: pd.DataFrame, threshold: float) -> list[list[int]]:
    """Which other masks show the same object, for each."""
    rows = list(masks[[*BOX, "mask", "area_px"]].itertuples(index=False))
    alike: list[list[int]] = [[] for _ in rows]
    for i, j in touching_boxes(masks):
        areas = rows[i].area_px, rows[j].area_px
        # decode only where the areas allow so large an IoU
        if min(areas) <= threshold * max(areas):
            continue
        common = intersection(rows[i], rows[j])
        if common > threshold * (sum(areas) - common):
            alike[i].append(j)
            alike[j].append(i)
    return alike
