"""Segment a whole field with one of the engines, at the scale of its nuclei."""

from typing import Any, NamedTuple

import numpy as np
import zarr

from cellsieve.coarse import ENGINES, measure_scale
from cellsieve.stitching import segment_tiled
from cellsieve.stores import CHUNK, add_plane

TILE = 1024  # pixels of the reduced plane
_WORKING_DIAMETER = 32  # nuclei need not be larger than this to be outlined well
_HALO_DIAMETERS = 3


class Segmented(NamedTuple):
    """The nuclei of a field, as `cellsieve.stores.write_labels` takes them.

    Attributes
    ----------
    labels : array-like, (H, W), uint32
        Labels in the order in which they were found; slice it to read.
    lookup : ndarray, (n + 1,), uint32
        Final label for each of those.
    """

    labels: Any
    lookup: np.ndarray


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
        step = max(1, CHUNK // self.factor)
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
        self.plane, self.factor, self.shape = plane, factor, shape

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the region, given in pixels of the field."""
        f = self.factor
        block = np.asarray(self.plane[tuple(slice(s.start // f, -(-s.stop // f)) for s in region)])
        rows, cols = (
            np.arange(s.start, min(s.stop, length)) // f - s.start // f
            for s, length in zip(region, self.shape, strict=True)
        )
        return block[np.ix_(rows, cols)]


def segment_field(
    dapi: Any,
    diameter: float | None,
    engine: str,
    scratch: zarr.Group,
    tile: int = TILE,
    offset: tuple[int, int] = (0, 0),
) -> Segmented:
    """Segment the nuclei of a field of any size.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    diameter : float or None
        Typical nucleus diameter in pixels; None when the field has no nuclei.
    engine : str
        A name in `cellsieve.coarse.ENGINES`.
    scratch : zarr.Group
        Holds the labels, which may be larger than memory.
    tile, offset : int, tuple of int
        Side and shift of the tiles, in pixels of the reduced plane; the
        objects do not depend on them.

    Returns
    -------
    Segmented
    """
    factor = max(1, int((diameter or 0) // _WORKING_DIAMETER))
    reduced = Reduced(dapi, factor)
    found = add_plane(scratch, "labels", reduced.shape, np.uint32)
    labels = Enlarged(found, factor, tuple(dapi.shape))
    scale = measure_scale(reduced, diameter / factor) if diameter else None
    if scale is None:
        return Segmented(labels, np.zeros(1, np.uint32))

    def outline(piece: np.ndarray) -> np.ndarray:
        return ENGINES[engine](piece, scale)

    halo = int(_HALO_DIAMETERS * diameter / factor) + 1
    return Segmented(labels, segment_tiled(reduced, outline, found, tile, halo, offset))
