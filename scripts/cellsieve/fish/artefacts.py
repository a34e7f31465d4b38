"""Spots that are no FISH signals: what shines in several probes at one place.

Probes bind to different loci, so three of them at one place are
autofluorescence, dirt or a hot pixel of the camera. Two may lie side by side
on one chromosome and are left alone.
"""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

FEWEST_PROBES = 3
_CLEAR = 5.0  # contrast below which spots of several probes may meet by chance
_CLUMP = 3  # such spots in each of three probes: a single one is dirt, two are bleed-through
LEAST_REACH_PX = 1.0


def in_several_probes(spots: pd.DataFrame) -> np.ndarray:
    """Tell which candidates of a field have company in two or more other probes.

    Parameters
    ----------
    spots : DataFrame
        Candidates of one field: ``probe, y_px, x_px, size_px``.

    Returns
    -------
    ndarray, (n,), bool
        Company is a candidate of another probe within half a typical signal
        diameter, and within a pixel at least.
    """
    if spots.empty:
        return np.zeros(0, bool)
    points = spots[["y_px", "x_px"]].to_numpy()
    probe = pd.factorize(spots["probe"])[0]
    reach = max(LEAST_REACH_PX, float(spots["size_px"].median()) / 2)
    seen = np.zeros(len(spots), np.int64)
    for index in range(probe.max() + 1):
        distance, _ = cKDTree(points[probe == index]).query(points, distance_upper_bound=reach)
        seen += np.isfinite(distance)
    return seen >= FEWEST_PROBES


def in_clumps(spots: pd.DataFrame, shining: np.ndarray) -> np.ndarray:
    """Return the nuclei on which a clump glows: many spots that shine in several probes.

    What glows in a clump is not one spot: some of its maxima lie elsewhere in each probe
    and look like signals.

    Parameters
    ----------
    spots : DataFrame
        Candidates of one field: ``probe, cell, contrast``.
    shining : ndarray, (n,), bool
        Which of them `in_several_probes` tells.

    Returns
    -------
    ndarray, (m,), int64
        Labels, ascending.
    """
    clear = spots[shining & (spots["contrast"] >= _CLEAR) & (spots["cell"] > 0)]
    spots_each = clear.groupby(["cell", "probe"]).size()
    probes = (spots_each >= _CLUMP).groupby("cell").sum()
    return probes.index[probes >= FEWEST_PROBES].to_numpy(np.int64)
