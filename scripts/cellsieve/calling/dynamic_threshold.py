"""A threshold that a slide's own scores set: where its tail would end without outliers."""

import numpy as np

SMALLEST = 20  # nuclei; the quartiles of fewer say little


def dynamic_threshold(score: np.ndarray) -> float:
    """Score that about one nucleus of a slide would reach if none were abnormal.

    Scores are decades of rarity, so that those of normal nuclei fall off exponentially. The
    exponential through the lower quartile and the median is the slide's own: abnormal
    nuclei score high, and a few of them hardly move these two.

    Parameters
    ----------
    score : ndarray, (n,), float
        Without NaN.

    Returns
    -------
    float
        NaN for fewer than 20 nuclei, or when a quarter of them score as the median.

    Examples
    --------
    Three quarters of 27 score 0 and more, half of them 1 and more: a step of 1 leaves
    two thirds.

    >>> round(dynamic_threshold(np.repeat([-1.0, 0.0, 1.0], [6, 7, 14])), 3)
    7.419
    """
    if len(score) < SMALLEST:
        return float("nan")
    lower, middle = np.quantile(score, [0.25, 0.5])
    if middle <= lower:
        return float("nan")
    return float(middle + (middle - lower) * np.log(len(score) / 2) / np.log(0.75 / 0.5))
