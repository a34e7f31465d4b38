"""Segment a whole field with a network, at the scale of its nuclei."""

import math
from typing import Any, NamedTuple

import numpy as np
import zarr

from cellsieve.rescaled import Rescaled
from cellsieve.segmentation import Segmented
from cellsieve.segmenters.interface import Outlined, Segmenter
from cellsieve.stitching import segment_tiled
from cellsieve.stores import add_plane

_LARGEST_TILE = 3072  # px of the field: bounds memory where nuclei are large


class View(NamedTuple):
    """A field as a network sees it.

    Attributes
    ----------
    plane : Rescaled
        Background-subtracted counts at the network's scale.
    intensity : float
        Of a typical nucleus, counts.
    step : int
        Pictures begin and end at multiples of it, in pixels of ``plane``.
    """

    plane: Rescaled
    intensity: float
    step: int

    def picture(self, region: tuple[slice, slice]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Show a region of the field, and where in the picture its pixels have their middles."""
        inside, padding, places = [], [], []
        for part, length in zip(region, self.plane.shape, strict=True):
            start, stop = (x * self.plane.scale / self.step for x in (part.start, part.stop))
            first, last = self.step * math.floor(start), self.step * math.ceil(stop)
            inside.append(slice(first, min(last, length)))
            padding.append((0, max(0, last - length)))
            places.append((np.arange(part.start, part.stop) + 0.5) * self.plane.scale - first)
        picture = self.plane[tuple(inside)] / np.float32(self.intensity)
        return np.pad(picture, padding), places


def tile_and_halo(segmenter: Segmenter, scale: float) -> tuple[int, int]:
    """Return side and halo of a network's tiles in pixels of the field.

    ``scale`` is pixels of the network to a pixel of the field.
    """
    tile, halo = (math.ceil(length / scale) for length in (segmenter.side, segmenter.halo))
    return min(tile, _LARGEST_TILE), halo


def segment_with_network(
    dapi: Any,
    diameter: float | None,
    intensity: float | None,
    segmenter: Segmenter,
    scratch: zarr.Group,
    offset: tuple[int, int] = (0, 0),
) -> Segmented:
    """Segment the nuclei of a field of any size.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    diameter : float or None
        Typical nucleus diameter in pixels; None when the field has no nuclei.
    intensity : float or None
        Typical intensity of its nuclei, counts.
    segmenter : Segmenter
    scratch : zarr.Group
        Holds the labels, which may be larger than memory.
    offset : tuple of int
        Shift of the tiles in pixels of the field; the objects do not depend
        on it.

    Returns
    -------
    Segmented
    """
    labels = add_plane(scratch, "labels", dapi.shape, np.uint32)
    if not diameter or not intensity:
        return Segmented(labels, np.zeros(1, np.uint32))
    scale = segmenter.diameter / diameter
    view = View(Rescaled(dapi, scale), intensity, segmenter.step)

    def outline(region: tuple[slice, slice]) -> Outlined:
        picture, places = view.picture(region)
        return segmenter.segment(picture, *places).labels

    sizes = tile_and_halo(segmenter, scale)
    return Segmented(labels, segment_tiled(outline, labels, *sizes, offset))
