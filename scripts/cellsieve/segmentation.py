"""Segment a whole field with one of the engines, at the scale of its nuclei."""

from typing import Any, NamedTuple

import numpy as np
import zarr

from cellsieve.coarse import ENGINES, measure_scale
from cellsieve.resolution import Enlarged, Reduced
from cellsieve.stitching import segment_tiled
from cellsieve.stores import add_plane

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

    def outline(region: tuple[slice, slice]) -> np.ndarray:
        return ENGINES[engine](np.asarray(reduced[region]), scale)

    halo = int(_HALO_DIAMETERS * diameter / factor) + 1
    return Segmented(labels, segment_tiled(outline, found, tile, halo, offset))
