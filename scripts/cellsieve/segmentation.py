"""Segment a whole field with one of the engines, at the scale of its nuclei."""

from typing import Any

import numpy as np
import zarr

from cellsieve.coarse import ENGINES, measure_scale
from cellsieve.stitching import Stitched, segment_tiled

TILE = 1024  # pixels of the reduced plane
_WORKING_DIAMETER = 32  # nuclei need not be larger than this to be outlined well
_HALO_DIAMETERS = 3


class Reduced:
    """A plane seen at 1/factor of its resolution, computed where it is sliced.

    Parameters
    ----------
    plane : array-like, (H, W)
    factor : int
        Each pixel is the mean of a block of this side; the last row and column
        are means of what is there.
    """

    def __init__(self, plane: Any, factor: int):
        self.plane, self.factor = plane, factor
        self.shape = tuple(-(-length // factor) for length in plane.shape)

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the region, given in reduced pixels."""
        f = self.factor
        block = np.asarray(
            self.plane[tuple(slice(s.start * f, s.stop * f) for s in region)], np.float32
        )
        if f == 1:
            return block
        pad = [(0, -length % f) for length in block.shape]
        block = np.pad(block, pad, mode="edge")
        return block.reshape(block.shape[0] // f, f, block.shape[1] // f, f).mean((1, 3))


def segment_field(
    dapi: Any, diameter: float, engine: str, labels: zarr.Array, offset: tuple[int, int] = (0, 0)
) -> Stitched:
    """Segment the nuclei of a field of any size.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    diameter : float
        Typical nucleus diameter in pixels.
    engine : str
        A name in `cellsieve.coarse.ENGINES`.
    labels : array-like, (H, W), uint32, all zero
        Written to, tile by tile.
    offset : tuple of int
        Shifts the tile grid; the objects do not depend on it.

    Returns
    -------
    Stitched
        Its ``lookup`` gives the final labels.
    """
    factor = max(1, int(diameter // _WORKING_DIAMETER))
    reduced = Reduced(dapi, factor)
    scale = measure_scale(reduced, diameter / factor)
    if scale is None:
        return Stitched(np.zeros(1, np.uint32))

    def outline(piece: np.ndarray) -> np.ndarray:
        return ENGINES[engine](piece, scale)

    target = labels if factor == 1 else _Enlarging(labels, factor, reduced.shape)
    halo = int(_HALO_DIAMETERS * diameter / factor) + 1
    return segment_tiled(reduced, outline, target, TILE, halo, offset)


class _Enlarging:
    """A label plane that is read and written at 1/factor of its resolution."""

    def __init__(self, labels: zarr.Array, factor: int, shape: tuple[int, int]):
        self.labels, self.factor, self.shape = labels, factor, shape

    def _fine(self, region: tuple[slice, slice]) -> tuple[slice, slice]:
        return tuple(
            slice(s.start * self.factor, min(s.stop * self.factor, length))
            for s, length in zip(region, self.labels.shape, strict=True)
        )

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        middle = self.factor // 2
        fine = np.asarray(self.labels[self._fine(region)])
        rows = np.minimum(np.arange(middle, fine.shape[0] + middle, self.factor), fine.shape[0] - 1)
        cols = np.minimum(np.arange(middle, fine.shape[1] + middle, self.factor), fine.shape[1] - 1)
        return fine[np.ix_(rows, cols)]

    def __setitem__(self, region: tuple[slice, slice], values: np.ndarray) -> None:
        fine = self._fine(region)
        height, width = (s.stop - s.start for s in fine)
        self.labels[fine] = _enlarge(values, self.factor)[:height, :width]


def _enlarge(values: np.ndarray, factor: int) -> np.ndarray:
    return np.repeat(np.repeat(values, factor, axis=0), factor, axis=1)
