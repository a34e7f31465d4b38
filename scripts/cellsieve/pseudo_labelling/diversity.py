"""Keep what is accepted as varied as what was found.

A labeller that keeps only what is beyond doubt keeps the round, the bright and
the lonely. Candidates are therefore binned by size, brightness and local
density; a bin of which too few are accepted takes its best doubtful ones in.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cellsieve.pseudo_labelling.nucleus_checks import DOUBTFUL

BINS = {
    "size_bin": ("small", "middling", "large"),
    "brightness_bin": ("dim", "middling", "bright"),
    "density_bin": ("alone", "middling", "crowded"),
}
LEAST_SHARE = 1 / 3  # of the plausible candidates of a bin
_SIZES = (0.6, 1.5)  # typical areas
_BRIGHTNESSES = (0.6, 1.5)  # of the field's median candidate
_NEIGHBOURS = (2, 5)  # candidates
_NEAR = 2.0  # diameters between the centres of neighbours


def assign_bins(candidates: pd.DataFrame, diameter: float) -> pd.DataFrame:
    """Put each candidate into a bin of size, one of brightness and one of local density.

    Parameters
    ----------
    candidates : DataFrame
        ``y_px, x_px, relative_area, brightness``; the last two are missing for
        what was too large to be measured, which counts as a neighbour only.
    diameter : float
        Typical nucleus diameter in pixels.

    Returns
    -------
    DataFrame
        With the index of ``candidates``; the columns of `BINS`, missing where
        nothing was measured.
    """
    measured = candidates.brightness.notna().to_numpy()
    values = {
        "size_bin": (candidates.relative_area, _SIZES),
        "brightness_bin": (candidates.brightness / candidates.brightness.median(), _BRIGHTNESSES),
        "density_bin": (_neighbours(candidates, _NEAR * diameter), _NEIGHBOURS),
    }
    columns = {
        name: np.where(measured, np.array(BINS[name])[np.digitize(value, edges)], None)
        for name, (value, edges) in values.items()
    }
    return pd.DataFrame(columns, index=candidates.index, dtype="string")


def choose(quality: np.ndarray, bins: pd.DataFrame) -> np.ndarray:
    """Accept what is beyond doubt, and the best of the rest where a bin would be bare.

    Parameters
    ----------
    quality : ndarray, (n,), float64
        From `cellsieve.pseudo_labelling.nucleus_checks.quality`; below 1 is doubtful, below
        `DOUBTFUL` never accepted.
    bins : DataFrame, (n, 3)
        From `assign_bins`.

    Returns
    -------
    ndarray, (n,), bool
        Of each bin at least a third (rounded down) of the plausible candidates.
        Which of two equally good ones is taken depends on their order alone.
    """
    accepted = quality >= 1
    plausible = quality >= DOUBTFUL
    best_first = np.argsort(-quality, kind="stable")
    for column, names in BINS.items():
        for name in names:
            members = plausible & (bins[column] == name).to_numpy(bool, na_value=False)
            wanted = int(LEAST_SHARE * members.sum()) - int((accepted & members).sum())
            doubtful = best_first[(members & ~accepted)[best_first]]
            accepted[doubtful[: max(wanted, 0)]] = True
    return accepted


def shares(accepted: Any, bins: pd.DataFrame) -> str:
    """Say in one line which share of each bin was accepted.

    Parameters
    ----------
    accepted : array-like, (n,), bool
    bins : DataFrame, (n, 3)
    """
    accepted = np.asarray(accepted, bool)
    parts = []
    for column, names in BINS.items():
        members = {name: (bins[column] == name).to_numpy(bool, na_value=False) for name in names}
        counts = [f"{name} {(accepted & m).sum()}/{m.sum()}" for name, m in members.items()]
        parts.append(f"{column.removesuffix('_bin')}: {', '.join(counts)}")
    return "; ".join(parts)


def _neighbours(candidates: pd.DataFrame, radius: float) -> np.ndarray:
    """Count the other candidates within a radius of each."""
    if not len(candidates):
        return np.zeros(0)
    centres = candidates[["y_px", "x_px"]].to_numpy(float)
    return cKDTree(centres).query_ball_point(centres, radius, return_length=True) - 1
