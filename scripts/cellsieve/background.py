"""Uneven background of a field, from a coarse mesh of local estimates."""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

CELL_DIAMETERS = 3.0


class Background(NamedTuple):
    """A smooth background, evaluated where it is needed.

    Attributes
    ----------
    mesh : ndarray, (rows, columns), float64
        Background in camera counts at the centres of a regular mesh.
    shape : tuple of int
        Height and width of the field in pixels.
    """

    mesh: np.ndarray
    shape: tuple[int, int]

    def at(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the background of a ``(y, x)`` region as float32.

        Bilinear between the centres of the mesh, and on beyond the outermost.
        """
        mesh = np.pad(self.mesh, 1, mode="reflect", reflect_type="odd").astype(np.float32)
        (y0, fy), (x0, fx) = (
            _bracket((np.arange(s.start, s.stop) + 0.5) * n / length + 0.5)
            for s, n, length in zip(region, self.mesh.shape, self.shape, strict=True)
        )
        # separable: interpolate along x on every mesh row, then along y
        across = mesh[:, x0] * (1 - fx) + mesh[:, x0 + 1] * fx
        return across[y0] * (1 - fy)[:, None] + across[y0 + 1] * fy[:, None]


def estimate_background(plane: Any, diameter: float) -> Background:
    """Estimate the background under the nuclei.

    Each mesh cell, three diameters wide, gives the median of its dark pixels;
    a morphological opening of the mesh then removes cells that nuclei fill,
    since nuclei can only add light. The mesh is opened on its tilt: an opening
    of a slope would lower its upper end.

    Parameters
    ----------
    plane : array-like, (H, W)
        Camera counts; read one row of mesh cells at a time.
    diameter : float
        Typical nucleus diameter in pixels.

    Returns
    -------
    Background
    """
    cell = max(8.0, CELL_DIAMETERS * diameter)
    edges = [
        np.linspace(0, length, max(1, round(length / cell)) + 1).astype(int)
        for length in plane.shape
    ]
    mesh = np.empty((len(edges[0]) - 1, len(edges[1]) - 1))
    for row, (top, bottom) in enumerate(zip(edges[0][:-1], edges[0][1:], strict=True)):
        strip = np.asarray(plane[top:bottom, 0 : plane.shape[1]])
        for col, (left, right) in enumerate(zip(edges[1][:-1], edges[1][1:], strict=True)):
            mesh[row, col] = _dark_median(strip[:, left:right])
    if mesh.size > 1:
        tilt = _plane(_opened(mesh))
        mesh = tilt + ndimage.gaussian_filter(_opened(mesh - tilt), 0.7, mode="nearest")
    return Background(mesh, tuple(plane.shape))


def _dark_median(block: np.ndarray) -> float:
    low, quarter = np.percentile(block, [5, 25])
    # at least half a count of spread: 8-bit images may have none at all
    spread = max(quarter - low, 0.5 if block.dtype.kind in "iu" else 0.0)
    return float(np.median(block[block <= low + 3 * spread]))


def _opened(mesh: np.ndarray) -> np.ndarray:
    return ndimage.grey_opening(mesh, 3, mode="nearest")


def _plane(mesh: np.ndarray) -> np.ndarray:
    """Least-squares plane through a mesh."""
    row, col = np.indices(mesh.shape)
    terms = np.stack([np.ones(mesh.size), row.ravel(), col.ravel()], axis=1)
    return (terms @ np.linalg.lstsq(terms, mesh.ravel(), rcond=None)[0]).reshape(mesh.shape)


def _bracket(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the mesh line at or before each position, and the fraction beyond it."""
    index = position.astype(int)
    return index, (position - index).astype(np.float32)
