"""How rare a score is among normal nuclei, on a scale that all views share."""

import numpy as np

_TAIL = 0.1  # share of the normal scores that the shape of the tail is learned from
_THINNEST = 0.05  # tail index below which a few nuclei cannot be told from no tail
CLEAR = np.log10(20)  # decades


class Rarity:
    """Turns scores into decades of rarity: 0 is common, 2 is one in a hundred.

    Among the normal scores it is the share of them that are at least as high. From
    their ninth decile on, a Pareto tail (index after Hill, Ann. Stat. 3:1163, 1975)
    goes on where the normal nuclei end, so that what is far beyond them is still
    ranked.

    Parameters
    ----------
    normal : array-like, (n,), float
        Scores of normal nuclei, not negative.
    """

    def __init__(self, normal: np.ndarray):
        self.ordered = np.sort(np.asarray(normal, float))
        tail = self.ordered[int((1 - _TAIL) * len(self.ordered)) :]
        self.start = max(float(tail[0]), 1e-9)
        self.index = max(float(np.log(np.maximum(tail, self.start) / self.start).mean()), _THINNEST)

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Return the decades, (n,) float64, of scores, (n,) float; NaN of NaN."""
        higher = len(self.ordered) - np.searchsorted(self.ordered, score, side="left")
        decades = -np.log10((1 + higher) / (len(self.ordered) + 1))
        beyond = np.maximum(score, self.start) / self.start
        tail = -np.log10(_TAIL) + np.log10(beyond) / self.index
        return np.where(np.isnan(score), np.nan, np.where(beyond > 1, tail, decades))


def join(crop: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Join what a nucleus looks like and what lies beside it.

    The nucleus itself leads. Debris is common, so that something beside it counts
    only where fewer than one in twenty normal nuclei have as much, and then as just
    that.

    Parameters
    ----------
    crop, surroundings : ndarray, (n,), float
        Decades of `Rarity`.

    Returns
    -------
    ndarray, (n,), float64
    """
    return np.maximum(crop, np.where(surroundings >= CLEAR, CLEAR, 0))
