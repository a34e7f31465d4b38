"""Where a network may learn neither nucleus nor background, and how to paint it over."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

_RIM = 0.1  # diameters around a mask that belong to its blurred edge
_SMALLEST_MISSED = 0.15  # diameters, radius of what a missed nucleus must hold


class Region(NamedTuple):
    """One piece of a field with its surroundings, all of one shape.

    Attributes
    ----------
    labels : ndarray, (h, w), uint32
        Accepted pseudo-labels.
    refused : ndarray, (h, w), bool
        Masks that were not accepted.
    bright : ndarray, (h, w), bool
        What is bright enough to be a nucleus.
    """

    labels: np.ndarray
    refused: np.ndarray
    bright: np.ndarray


def ignored(region: Region, diameter: float) -> np.ndarray:
    """Mark refused masks, and bright pixels that may be a nucleus nobody found.

    Parameters
    ----------
    region : Region
        A margin of `halo` is needed around the pixels that are wanted.
    diameter : float
        Typical nucleus diameter in pixels.

    Returns
    -------
    ndarray, (h, w), bool
        Never overlaps a label. Refused masks are grown by a tenth of a diameter,
        the width of a blurred edge. Bright pixels within as much of a label are
        that label's own edge and stay background: the network must learn where
        nuclei end. Of the others only what holds a disc of 0.15 diameters is
        marked.
    """
    labelled = region.labels > 0
    doubtful = grown(region.refused, _RIM * diameter)
    unclaimed = region.bright & ~grown(labelled, _RIM * diameter)
    return (doubtful | _opened(unclaimed, _SMALLEST_MISSED * diameter)) & ~labelled


def halo(diameter: float) -> int:
    """Pixels of surroundings that `ignored` needs to be right at a pixel."""
    return int(np.ceil((_RIM + 2 * _SMALLEST_MISSED) * diameter)) + 2


def paint(
    counts: np.ndarray, covered: np.ndarray, background: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Replace pixels by others drawn at random from a background.

    Parameters
    ----------
    counts : ndarray, (h, w)
    covered : ndarray, (h, w), bool
        What is to be replaced.
    background : ndarray, (n,)
        Values to draw from; when there are none, 0, to which the background of
        every field was set.
    rng : Generator

    Returns
    -------
    ndarray, (h, w), dtype of ``counts``
    """
    painted = counts.copy()
    values = background if len(background) else np.zeros(1, counts.dtype)
    painted[covered] = rng.choice(values, int(covered.sum()))
    return painted


def grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """Return a mask and all within ``radius`` pixels of it."""
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask) <= radius


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    """Return the union of the discs of a radius that fit into a mask; the border cuts nothing."""
    if mask.all():
        return mask
    return grown(ndimage.distance_transform_edt(mask) > radius, radius)
