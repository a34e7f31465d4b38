"""A few vectors that stand for many."""

from typing import NamedTuple

import numpy as np


class Coreset(NamedTuple):
    """Vectors that stand for all.

    Attributes
    ----------
    places : ndarray, (k,), int
        Ascending.
    radius : float
        How far the farthest of all vectors is from the nearest of these: what is lost.
    """

    places: np.ndarray
    radius: float


def farthest_first(vectors: np.ndarray, count: int) -> Coreset:
    """Choose vectors one by one, each the farthest from those chosen before.

    Parameters
    ----------
    vectors : ndarray, (n, d)
    count : int
        How many, at most n.

    References
    ----------
    Gonzalez, Theor. Comput. Sci. 38:293, 1985: the radius is at most twice the smallest
    that so many vectors can have.
    """
    vectors = np.asarray(vectors, np.float32)
    squares = (vectors**2).sum(1)

    def distance(place: int) -> np.ndarray:
        # rounding must not make a vector's distance to itself negative
        return np.maximum(squares + squares[place] - 2 * (vectors @ vectors[place]), 0)

    middle = vectors.mean(0)
    chosen = [int(((vectors - middle) ** 2).sum(1).argmin())]
    nearest = distance(chosen[0])
    while len(chosen) < count:
        nearest[chosen[-1]] = -1  # itself, never again
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distance(chosen[-1]))
    return Coreset(np.sort(chosen), float(np.sqrt(max(nearest.max(), 0))))
