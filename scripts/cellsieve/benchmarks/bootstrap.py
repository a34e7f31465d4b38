"""How far figures depend on which images were measured: bootstrap intervals over images."""

from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
_SEED = 0
_ENDS = (2.5, 97.5)  # percentiles


class Ratio(NamedTuple):
    """A figure that is a sum over images divided by another one.

    Attributes
    ----------
    numerators, denominators : ndarray, (n,), float64
        What each image adds to the sums: 2 TP and the number of objects for a
        pooled F1, a value and 1 for a mean over images.
    """

    numerators: np.ndarray
    denominators: np.ndarray


class Estimate(NamedTuple):
    """A figure with the two ends of its 95 % interval; not a number where there is none."""

    value: float
    low: float
    high: float

    def as_dict(self, kind: str) -> dict[str, float | None]:
        """Return the value under the name of its kind, ``low`` and ``high``, as JSON takes them."""
        values = (None if np.isnan(number) else number for number in self)
        return dict(zip((kind, "low", "high"), values, strict=True))


def mean(values: np.ndarray) -> Ratio:
    """Return the mean over images, (n,) float; images without a value (NaN) are left out."""
    values = np.asarray(values, float)
    known = ~np.isnan(values)
    return Ratio(np.where(known, values, 0.0), known.astype(float))


def pooled(numerators: np.ndarray, denominators: np.ndarray) -> Ratio:
    """Return the ratio of two sums over all images, each (n,)."""
    return Ratio(np.asarray(numerators, float), np.asarray(denominators, float))


def estimate(figure: Ratio) -> Estimate:
    """Compute a figure and its interval.

    Parameters
    ----------
    figure : Ratio
        From `mean` or `pooled`.

    Returns
    -------
    Estimate
        The interval is the percentile bootstrap's: whole images are drawn with
        replacement, and sums are formed anew. The draws are the same each
        time. There is no interval when some draw leaves nothing to divide
        by, and none worth the name with a handful of images.

    References
    ----------
    Efron & Tibshirani, An introduction to the bootstrap (1993), chapter 13.
    """
    return _summary(_over(figure, _draws(len(figure.numerators))))


def difference(first: Ratio, second: Ratio) -> Estimate:
    """Compute the first figure minus the second, of two methods on the same images.

    Parameters
    ----------
    first, second : Ratio
        Image for image in the same order: both are drawn together, so that
        what makes an image hard for both cancels.

    Returns
    -------
    Estimate
        As `estimate`. Where the interval does not hold 0, other images of the
        kind would most likely show a difference of the same sign.
    """
    draws = _draws(len(first.numerators))
    return _summary(_over(first, draws) - _over(second, draws))


def _draws(images: int) -> np.ndarray:
    """How often each image counts: once in the first row, then as often as it was drawn."""
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)
    return np.vstack([np.ones(images), drawn])


def _over(figure: Ratio, draws: np.ndarray) -> np.ndarray:
    total = draws @ figure.denominators
    nothing = np.full_like(total, np.nan)
    return np.divide(draws @ figure.numerators, total, out=nothing, where=total > 0)


def _summary(values: np.ndarray) -> Estimate:
    """Of a figure's values over the images themselves and over all draws."""
    low, high = np.percentile(values[1:], _ENDS)
    return Estimate(float(values[0]), float(low), float(high))
