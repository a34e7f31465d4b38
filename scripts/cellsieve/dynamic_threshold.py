"""A threshold that a slide's own scores set: where its tail would end without outliers."""

import numpy as np

SMALLEST = 20  # nuclei; the quartiles of fewer say little


def dynamic_threshold(score: np.ndarray) -> float:
    """Score that about one nucleus of a slide would reach if none were abnormal.

    Scores are decades of rarity, so that normal ones fall off exponentially. The
    exponential through the median and the upper quartile is the slide's own, and
    abnormal nuclei hardly move it where they are fewer than a quarter.

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
    A quarter of these 32 lies from 1 on, half from 0: each further step of 1 halves
    what is left, so that 1 of 32 is left at 4.

    >>> dynamic_threshold(np.repeat([-1.0, 0.0, 1.0, 2.0], [15, 8, 8, 1]))
    4.0
    """
    if len(score) < SMALLEST:
        return float("nan")
    middle, upper = np.quantile(score, [0.5, 0.75])
    if upper <= middle:
        return float("nan")
    return float(middle + (upper - middle) * np.log2(len(score) / 2))
