"""Which of many p-values to believe: false discovery rates."""

import numpy as np


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Smallest false discovery rate at which each test would be called.

    Parameters
    ----------
    p : ndarray, (n,), float
        p-values; NaN is no test: it stays NaN and does not count.

    Returns
    -------
    ndarray, (n,), float64
        q-values.

    References
    ----------
    Benjamini & Hochberg, J. R. Stat. Soc. B 57:289 (1995).

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.02, 0.5, np.nan])).round(3).tolist()
    [0.03, 0.03, 0.5, nan]
    """
    q = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    n = len(order)
    scaled = p[order] * n / np.arange(1, n + 1)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return q


def rarest_callable(n_calibration: int, q: float) -> float:
    """Smallest part of a slide that can be called at a false discovery rate.

    A p-value from ``n`` calibration nuclei is at least 1 / (n + 1), and k of m
    nuclei that all have it are called when m / (n + 1) ≤ q k.

    Parameters
    ----------
    n_calibration : int
    q : float

    Returns
    -------
    float
        k / m; 1 or more means that nothing can be called.
    """
    return 1 / ((n_calibration + 1) * q)
