"""How far a probe's plane lies beside that of the nuclei, and the plane put right.

Filters and mirrors move the picture by some pixels. All probes leave a haze in the
nuclei, so that the nuclei themselves show by how much.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.registration import phase_cross_correlation

from cellsieve.tiles import Tile

_COARSE = 16  # pixels of a nucleus that are enough to lay it on another
_EDGE, _HAZE = 1 / 24, 1  # scales of the band-pass, in diameters
_TENTHS = 10
_PARTS = 2  # of the field
_LEAST = 0.5  # correlation below which the haze says nothing
_MOST = 0.25  # diameters; further off it is another picture


def channel_shift(
    plane: Any, labels: Any, diameter_px: float, samples: Sequence[Tile]
) -> tuple[int, int] | None:
    """Measure the shift of a plane against the nuclei.

    Parameters
    ----------
    plane : array-like, (H, W), number
    labels : array-like, (H, W), integer
        Nuclei 1..n.
    diameter_px : float
        Typical diameter of a nucleus.
    samples : sequence of Tile
        Parts of the field to look at.

    Returns
    -------
    tuple of int, or None
        Pixels down and to the right; None where no part tells.
    """
    found = [_shift(plane[t.core], labels[t.core], diameter_px) for t in samples[:_PARTS]]
    found = [shift for shift in found if shift is not None]
    if not found:
        return None
    down, right = np.rint(np.median(found, axis=0)).astype(int)
    return int(down), int(right)


class Shifted:
    """A plane moved back by whole pixels; at the border its edge is repeated.

    Parameters
    ----------
    plane : array-like, (H, W)
    shift : tuple of int
        As `channel_shift` gives it.
    """

    def __init__(self, plane: Any, shift: tuple[int, int]):
        self.plane, self.shift = plane, shift
        self.shape, self.dtype = plane.shape, plane.dtype

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return a region as if it had never been shifted."""
        wanted = [
            np.arange(*part.indices(length)) + by
            for part, length, by in zip(region, self.shape, self.shift, strict=True)
        ]
        inside = [np.clip(at, 0, length - 1) for at, length in zip(wanted, self.shape, strict=True)]
        rows, cols = (slice(int(at.min()), int(at.max()) + 1) for at in inside)
        block = np.asarray(self.plane[rows, cols])
        return block[np.ix_(inside[0] - rows.start, inside[1] - cols.start)]


def _shift(plane: Any, labels: Any, diameter_px: float) -> np.ndarray | None:
    """Return the shift of one part in pixels, (2,) float, if its haze is clear."""
    factor = max(1, int(diameter_px / _COARSE))
    light, nuclei = np.asarray(plane, np.float32), np.asarray(labels) > 0
    if not nuclei.any() or not np.isfinite(light).all():
        return None
    # signals are no haze
    light = np.minimum(light, np.percentile(light[nuclei], 75))
    diameter = diameter_px / factor
    seen, known = (
        _band(block_reduce(p, factor, np.mean), diameter)
        for p in (light, nuclei.astype(np.float32))
    )
    scale = np.sqrt((seen**2).sum() * (known**2).sum())
    if scale == 0:
        return None
    shift, _, _ = phase_cross_correlation(
        seen, known, upsample_factor=_TENTHS * factor, normalization=None
    )
    laid = ndimage.shift(known, shift, order=1)
    clear = (seen * laid).sum() / scale >= _LEAST
    return factor * shift if clear and np.abs(shift).max() <= _MOST * diameter else None


def _band(picture: np.ndarray, diameter: float) -> np.ndarray:
    fine, coarse = (ndimage.gaussian_filter(picture, s * diameter) for s in (_EDGE, _HAZE))
    return fine - coarse
