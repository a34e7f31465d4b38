"""A field with the outlines of a model's masks, coloured by what the model thinks of them."""

from typing import Any

import numpy as np
import pandas as pd
from skimage.segmentation import find_boundaries

from cellsieve.pictures import as_rgb, contrast_limits, overview, sampled_labels, stretch
from cellsieve.pseudo_labelling.mask_table import draw

_POOR, _GOOD = np.array([255, 40, 40]), np.array([60, 230, 90])
_RANGE = (0.5, 0.95)  # predicted IoU drawn in these colours, and below and above


class _Drawn:
    """The masks of a table as a plane of row numbers, drawn where it is sliced."""

    dtype = np.dtype(np.uint32)

    def __init__(self, table: pd.DataFrame, shape: tuple[int, int]):
        self.table, self.shape = table, shape

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        return draw(self.table, np.arange(1, len(self.table) + 1), region)


def mask_overlay(dapi: Any, masks: pd.DataFrame) -> np.ndarray:
    """Draw the outline of every mask that repeats no other, from red (poor) to green (good).

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    masks : DataFrame
        Columns as in `cellsieve.pseudo_labelling.prompted.SAM_MASKS`.

    Returns
    -------
    ndarray, (h, w, 3), uint8
        At most 1200 px a side.
    """
    shown = masks[masks["duplicate_of"].isna()]
    small, scale = overview(dapi)
    picture = as_rgb(stretch(small, contrast_limits(small)))
    rows = sampled_labels(_Drawn(shown, tuple(dapi.shape)), scale)
    share = np.interp(shown["predicted_iou"].to_numpy(np.float64), _RANGE, (0, 1))[:, None]
    colours = np.rint(_POOR * (1 - share) + _GOOD * share).astype(np.uint8)
    edge = find_boundaries(rows, mode="inner", background=0)
    picture[edge] = colours[rows[edge].astype(np.int64) - 1]
    return picture
