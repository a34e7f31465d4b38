"""A plane seen at any other scale, computed where it is sliced."""

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

_STRIP = 1024  # rows of the plane that are read at once


class Rescaled:
    """A plane enlarged or reduced by any factor.

    Parameters
    ----------
    plane : array-like, (H, W)
        Anything that slices to numbers.
    scale : float
        Pixels of this view to a pixel of the plane; above 1 enlarges.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the view: ``ceil(H * scale), ceil(W * scale)``.

    Notes
    -----
    Pixel ``i`` of the view has its middle at ``(i + 0.5) / scale`` of the
    plane. Its value is a mean of the plane under a triangle that reaches one
    pixel of the coarser of both grids to either side: bilinear interpolation
    when enlarging, without aliasing when reducing. Positions are counted from
    the plane's corner, so that a pixel has the same bits wherever it is sliced.
    """

    def __init__(self, plane: Any, scale: float):
        self.plane, self.scale = plane, scale
        self.shape = tuple(int(np.ceil(length * scale - 1e-9)) for length in plane.shape)

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the region, given in pixels of the view, as float32."""
        rows, cols = region
        # strip by strip: where nuclei are large, a tile covers much of the plane
        step = max(1, int(_STRIP * self.scale))
        edges = [*range(rows.start, rows.stop, step), rows.stop]
        weights, source = self._weights(cols, self.plane.shape[1])
        strips = [
            self._strip(slice(start, stop), weights, source) for start, stop in pairwise(edges)
        ]
        return np.concatenate(strips)

    def _strip(self, rows: slice, weights: sparse.csr_array, cols: slice) -> np.ndarray:
        down, source = self._weights(rows, self.plane.shape[0])
        block = np.asarray(self.plane[source, cols], np.float32)
        return down @ (weights @ block.T).T

    def _weights(self, wanted: slice, length: int) -> tuple[sparse.csr_array, slice]:
        """Weights of the plane's pixels for each wanted pixel, and which pixels these are."""
        reach = max(1.0, 1 / self.scale)
        middle = (np.arange(wanted.start, wanted.stop) + 0.5) / self.scale - 0.5
        middle = np.clip(middle, 0, length - 1)
        first = np.ceil(middle - reach).astype(int)
        taken = first[:, None] + np.arange(int(2 * reach) + 1)
        weight = np.maximum(0, 1 - np.abs(taken - middle[:, None]) / reach)
        weight[(taken < 0) | (taken >= length)] = 0
        weight /= weight.sum(1, keepdims=True)
        start, stop = max(0, int(taken[0, 0])), min(length, int(taken[-1, -1]) + 1)
        used = weight > 0
        rows = np.repeat(np.arange(len(middle)), used.sum(1))
        shape = (len(middle), stop - start)
        values = weight[used].astype(np.float32)
        return sparse.csr_array((values, (rows, taken[used] - start)), shape), slice(start, stop)
