"""Which nuclei are whole and alone, so that something can be said of them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

FRAGMENT = 1 / 3  # of the median area; what is smaller is debris or a piece
MUCH_DNA = 1.3  # of the median; one nucleus and a small one beside it have more
COVERED = 1.25  # brightest part relative to the median nucleus': beyond it something lies over it
# less than that shows two nuclei in one outline often enough, where signals speak for two as well:
RATHER_BRIGHT = 1.2  # the same
DENTED = 1.9  # what the convex hull has more, relative to the median nucleus'


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


def looks_doubled(nuclei: pd.DataFrame, whole: np.ndarray) -> np.ndarray:
    """Tell which nuclei have as much DNA as two.

    Parameters
    ----------
    nuclei : DataFrame
        ``dapi_sum`` of the nuclei of one slide.
    whole : ndarray, (n,), bool
        Those that the typical DNA content is had from.

    Returns
    -------
    ndarray, (n,), bool
        Cells before division and tetraploid ones are among them.
    """
    dna = nuclei["dapi_sum"].to_numpy(float)
    typical = np.median(dna[whole]) if whole.any() else np.inf
    return dna > MUCH_DNA * typical


def looks_covered(nuclei: pd.DataFrame, whole: np.ndarray) -> np.ndarray:
    """Tell which nuclei another nucleus or debris may lie over: a part is much too bright.

    Parameters
    ----------
    nuclei : DataFrame
        ``bright_part`` of the nuclei of one slide.
    whole : ndarray, (n,), bool
        Those that the typical brightest part is had from.

    Returns
    -------
    ndarray, (n,), bool
    """
    return _bright_part(nuclei, whole) > COVERED


def may_be_two(nuclei: pd.DataFrame, whole: np.ndarray) -> np.ndarray:
    """Tell which nuclei are not clearly single ones: a dent, or a part that is rather bright.

    Gains in them prove nothing.

    Parameters
    ----------
    nuclei : DataFrame
        ``solidity, bright_part`` of the nuclei of one slide.
    whole : ndarray, (n,), bool
        Those that the typical nucleus is had from.

    Returns
    -------
    ndarray, (n,), bool
    """
    # relative, since pixels dent small nuclei more
    dents = 1 - nuclei["solidity"].to_numpy(float)
    usual = np.median(dents[whole]) if whole.any() else np.inf
    return (dents > DENTED * usual) | (_bright_part(nuclei, whole) > RATHER_BRIGHT)


def _bright_part(nuclei: pd.DataFrame, whole: np.ndarray) -> np.ndarray:
    """Brightest part of each nucleus relative to the median nucleus'."""
    part = nuclei["bright_part"].to_numpy(float)
    return part / (np.median(part[whole]) if whole.any() else np.inf)
