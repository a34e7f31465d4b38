"""From anomaly scores and p-values to one call a nucleus, within a slide."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cellsieve.calling.dynamic_threshold import dynamic_threshold
from cellsieve.calling.multiple_testing import benjamini_hochberg

MAD_TO_SD = 1.4826


class Limits(NamedTuple):
    """From where on nuclei are suspicious.

    Attributes
    ----------
    threshold : {"conformal", "dynamic"}
        By q, or by a threshold that the slide's own scores set.
    q : float
        False discovery rate up to which nuclei are suspicious.
    z : float
        Robust z from which they are, when the slide has no p-values.
    """

    threshold: str
    q: float
    z: float


class AnomalyCalls(NamedTuple):
    """What the scores of a slide say.

    Attributes
    ----------
    z, q : ndarray, (n,), float64
        Robust z of the score; false discovery rate. NaN where there is none.
    call : ndarray, (n,), object
        ``normal``, ``suspicious`` or ``not_assessable``.
    called_by : {"q", "z", "dynamic", None}
        What the calls rest on; None when there are no scores, or none to compare.
    limit : float or None
        Of q, of z, or of the score when called by the dynamic threshold.
    """

    z: np.ndarray
    q: np.ndarray
    call: np.ndarray
    called_by: str | None
    limit: float | None


def call_anomalies(nuclei: pd.DataFrame, assessable: np.ndarray, limits: Limits) -> AnomalyCalls:
    """Call the nuclei of a slide suspicious or normal.

    Parameters
    ----------
    nuclei : DataFrame
        ``anomaly_score`` and ``anomaly_p``; both may be missing. Where some nuclei have a
        p-value, the others are of fields unlike the reference, and not called.
    assessable : ndarray, (n,), bool
        Whole nuclei that overlap no other. The others are in no test and
        not called.
    limits : Limits
    """
    score = nuclei["anomaly_score"].to_numpy(np.float64)
    p = np.where(assessable, nuclei["anomaly_p"].to_numpy(np.float64), np.nan)
    known = assessable & ~np.isnan(score)
    if not np.isnan(p[known]).all():
        known &= ~np.isnan(p)
    z, q = robust_z(score, known), benjamini_hochberg(np.where(known, p, np.nan))
    called_by, limit, suspicious = _rule(score, z, q, known, limits)
    if called_by is None:
        known[:] = False
    call = np.where(known, np.where(suspicious, "suspicious", "normal"), "not_assessable")
    return AnomalyCalls(z, q, call.astype(object), called_by, limit)


def _rule(
    score: np.ndarray, z: np.ndarray, q: np.ndarray, known: np.ndarray, limits: Limits
) -> tuple[str | None, float | None, np.ndarray]:
    """Return what calls rest on, its limit, and which nuclei are beyond it."""
    if limits.threshold == "dynamic":
        limit = dynamic_threshold(score[known])
        if not np.isnan(limit):
            return "dynamic", limit, score >= limit
    elif not np.isnan(q).all():
        return "q", limits.q, q <= limits.q
    elif not np.isnan(z).all():
        return "z", limits.z, z >= limits.z
    return None, None, np.zeros(len(score), bool)


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
