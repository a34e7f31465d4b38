"""How far a probe's plane lies beside that of the nuclei, and the plane put right.

Filters and mirrors move the picture by some pixels. All probes leave a haze in the
nuclei, so that the nuclei themselves show by how much.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.registration import phase_cross_correlation

from cellsieve.tiles import richest_tiles

_COARSE = 16  # pixels of a nucleus that are enough to lay it on another
_EDGE, _HAZE = 1 / 24, 1  # scales of the band-pass, in diameters
_TENTHS = 10
_PARTS = 2  # of the field
_LEAST = 0.5  # correlation below which the haze says nothing
_MOST = 0.25  # diameters; further off it is hardly the same place
_APART = 2  # pixels that two parts of a field may disagree by


def lay_on_nuclei(
    planes: Mapping[str, Any], labels: Any, diameter_px: float | None
) -> tuple[dict[str, Any], list[str]]:
    """Lay the planes of all probes on the nuclei.

    Parameters
    ----------
    planes : mapping of str to array-like, (H, W), number
    labels : array-like, (H, W), integer
        Nuclei 1..n.
    diameter_px : float or None
        Typical diameter of a nucleus; None when the field has no nuclei.

    Returns
    -------
    planes : dict of str to array-like, (H, W)
    notes : list of str
        Which planes lay beside the nuclei, and which might.
    """
    laid, notes = dict(planes), []
    if diameter_px is None:
        return laid, notes
    samples = richest_tiles(labels)[:_PARTS]
    for probe, plane in planes.items():
        found = [_shift(plane[t.core], labels[t.core], diameter_px) for t in samples]
        found = [shift for shift in found if shift is not None]
        if not found:
            continue
        if np.abs(found).max() > _MOST * diameter_px or np.ptp(found, axis=0).max() > _APART:
            places = " and ".join(f"{down:.1f}, {right:.1f}" for down, right in found)
            notes.append(f"{probe}: may lie beside the nuclei (down, right: {places} px); left so")
            continue
        down, right = (int(by) for by in np.rint(np.mean(found, axis=0)))
        if (down, right) != (0, 0):
            laid[probe] = Shifted(plane, (down, right))
            notes.append(f"{probe}: lay {down} px down and {right} px right of the nuclei")
    return laid, notes


class Shifted:
    """A plane moved back by whole pixels; at the border its edge is repeated.

    Parameters
    ----------
    plane : array-like, (H, W)
    shift : tuple of int
        Pixels down and to the right that it lies off.
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
    # whole blocks only: a padded one would be an edge
    inner = tuple(slice(0, length // factor * factor) for length in labels.shape)
    light, nuclei = np.asarray(plane, np.float32)[inner], np.asarray(labels)[inner] > 0
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
    return factor * shift if clear else None


def _band(picture: np.ndarray, diameter: float) -> np.ndarray:
    fine, coarse = (ndimage.gaussian_filter(picture, s * diameter) for s in (_EDGE, _HAZE))
    return fine - coarse
