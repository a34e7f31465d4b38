"""From anomaly scores and p-values to one call a nucleus, within a slide."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cellsieve.multiple_testing import benjamini_hochberg

MAD_TO_SD = 1.4826


class AnomalyCalls(NamedTuple):
    """What the scores of a slide say.

    Attributes
    ----------
    z, q : ndarray, (n,), float64
        Robust z of the score; false discovery rate. NaN where there is none.
    call : ndarray, (n,), object
        ``normal``, ``suspicious`` or ``not_assessable``.
    called_by : {"q", "z", None}
        What the calls rest on; None when there are no scores.
    """

    z: np.ndarray
    q: np.ndarray
    call: np.ndarray
    called_by: str | None


def call_anomalies(
    nuclei: pd.DataFrame, assessable: np.ndarray, q_limit: float, z_limit: float
) -> AnomalyCalls:
    """Call the nuclei of a slide suspicious or normal.

    Parameters
    ----------
    nuclei : DataFrame
        ``anomaly_score`` and ``anomaly_p``; both may be missing.
    assessable : ndarray, (n,), bool
        Whole nuclei that overlap no other. The others are in no test and
        not called.
    q_limit : float
        False discovery rate up to which nuclei are suspicious.
    z_limit : float
        Robust z from which they are, when the slide has no p-values.
    """
    score = nuclei["anomaly_score"].to_numpy(np.float64)
    p = nuclei["anomaly_p"].to_numpy(np.float64)
    scored = assessable & ~np.isnan(score)
    z = robust_z(score, scored)
    q = benjamini_hochberg(np.where(scored, p, np.nan))
    if not np.isnan(q).all():
        called_by, known, suspicious = "q", ~np.isnan(q), q <= q_limit
    elif not np.isnan(z).all():
        called_by, known, suspicious = "z", scored, z >= z_limit
    else:
        called_by, known, suspicious = None, np.zeros(len(z), bool), np.zeros(len(z), bool)
    call = np.where(known, np.where(suspicious, "suspicious", "normal"), "not_assessable")
    return AnomalyCalls(z, q, call.astype(object), called_by)


def robust_z(score: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Scores in robust standard deviations from the median.

    Parameters
    ----------
    score : ndarray, (n,), float
    typical : ndarray, (n,), bool
        Which scores the median and the median absolute deviation are of.

    Returns
    -------
    ndarray, (n,), float64
        All NaN when there is nothing to compare with or more than half of the
        scores are equal.
    """
    if not typical.any():
        return np.full(len(score), np.nan)
    middle = np.median(score[typical])
    spread = MAD_TO_SD * np.median(np.abs(score[typical] - middle))
    return (score - middle) / spread if spread > 0 else np.full(len(score), np.nan)
