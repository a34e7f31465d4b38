"""Planes seen at another resolution, computed where they are sliced."""

from typing import Any

import numpy as np

_STRIP = 512  # rows of the full resolution that are read at once


class Reduced:
    """A plane seen at 1/factor of its resolution, computed where it is sliced.

    Parameters
    ----------
    plane : array-like, (H, W)
    factor : int
        Each pixel is the mean of a block of this side; beyond the last row and
        column of the plane they are repeated.
    """

    def __init__(self, plane: Any, factor: int):
        self.plane, self.factor = plane, factor
        self.shape = tuple(-(-length // factor) for length in plane.shape)

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the region, given in reduced pixels, as float32."""
        rows, cols = region
        # strip by strip: at full resolution a tile of large nuclei is large
        step = max(1, _STRIP // self.factor)
        strips = [slice(y, min(y + step, rows.stop)) for y in range(rows.start, rows.stop, step)]
        return np.concatenate([self._means(strip, cols) for strip in strips])

    def _means(self, rows: slice, cols: slice) -> np.ndarray:
        f = self.factor
        fine = (slice(rows.start * f, rows.stop * f), slice(cols.start * f, cols.stop * f))
        block = np.asarray(self.plane[fine], np.float32)
        block = np.pad(block, [(0, -length % f) for length in block.shape], mode="edge")
        return block.reshape(block.shape[0] // f, f, block.shape[1] // f, f).mean((1, 3))


class Enlarged:
    """Labels of a reduced plane, seen at the resolution of the field.

    Parameters
    ----------
    plane : array-like, (h, w)
        Labels at 1/factor of the resolution.
    factor : int
    shape : tuple of int
        Height and width of the field.
    """

    def __init__(self, plane: Any, factor: int, shape: tuple[int, int]):
        self.plane, self.factor, self.shape, self.dtype = plane, factor, shape, plane.dtype

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the region, given in pixels of the field."""
        f = self.factor
        block = np.asarray(self.plane[tuple(slice(s.start // f, -(-s.stop // f)) for s in region)])
        rows, cols = (
            np.arange(s.start, min(s.stop, length)) // f - s.start // f
            for s, length in zip(region, self.shape, strict=True)
        )
        return block[np.ix_(rows, cols)]
