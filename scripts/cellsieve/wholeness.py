"""Which nuclei are whole and alone, so that something can be said of them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

FRAGMENT = 1 / 3  # of the median area; what is smaller is debris or a piece


class Wholeness(NamedTuple):
    """Two answers for each nucleus.

    Attributes
    ----------
    whole : ndarray, (n,), bool
        Does not touch the border, overlaps no other and is no fragment.
    fragment : ndarray, (n,), bool
        Smaller than a third of the median of those that are whole otherwise.
    """

    whole: np.ndarray
    fragment: np.ndarray


def judge_wholeness(nuclei: pd.DataFrame) -> Wholeness:
    """Judge the nuclei of one slide, or of one field.

    Parameters
    ----------
    nuclei : DataFrame
        ``area_px, touches_border, overlapping``.
    """
    whole = ~(nuclei["touches_border"] | nuclei["overlapping"]).to_numpy(bool)
    area = nuclei["area_px"].to_numpy(float)
    if not whole.any():
        return Wholeness(whole, np.zeros(len(area), bool))
    fragment = area < FRAGMENT * np.median(area[whole])
    return Wholeness(whole & ~fragment, fragment)
