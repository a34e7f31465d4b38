"""Visit the objects of a label image a few at a time, each one whole."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from cellsieve.tiles import tiles

TILE = 1024


class Batch(NamedTuple):
    """A region of the plane and the labels that are to be handled in it.

    Attributes
    ----------
    region : tuple of slice
        ``(y, x)`` part of the plane that contains every listed object whole.
    labels : ndarray, (n,), int64
        The objects owned by this batch, ascending.
    """

    region: tuple[slice, slice]
    labels: np.ndarray

    def number(self, block: np.ndarray) -> np.ndarray:
        """Number the listed objects from 1 on in the region's labels, others become 0.

        A label may be any 32-bit number, and what visits or counts labels would go
        through all numbers up to the largest.
        """
        place = np.searchsorted(self.labels, block).clip(max=len(self.labels) - 1)
        return np.where(self.labels[place] == block, place + 1, 0)


def renumber(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the labels that there are from 0 on: they may be any 32-bit numbers.

    Parameters
    ----------
    labels : ndarray, (H, W), integer

    Returns
    -------
    present : ndarray, (n,)
        The labels that there are, ascending, 0 among them where it occurs.
    places : ndarray, (H, W), int64
        Place of each pixel's label in ``present``.

    Notes
    -----
    The same as `numpy.unique`, by hashing instead of sorting: pixels are many
    times more than labels.
    """
    places, present = pd.factorize(labels.ravel(), sort=True)
    return present, places.reshape(labels.shape)


def bounding_boxes(labels: Any) -> pd.DataFrame:
    """Bounding box of every object, read tile by tile.

    Parameters
    ----------
    labels : array-like, (H, W), integer
        0 is background.

    Returns
    -------
    DataFrame
        Indexed by label, ascending; columns ``y0, x0, y1, x1`` in pixels, the
        last two exclusive.
    """
    parts = []
    for tile in tiles(labels.shape, TILE):
        present, block = renumber(np.asarray(labels[tile.core]))
        boxes = ndimage.find_objects(block + 1)
        y, x = tile.core[0].start, tile.core[1].start
        parts += [
            (label, box[0].start + y, box[1].start + x, box[0].stop + y, box[1].stop + x)
            for label, box in zip(present.tolist(), boxes, strict=True)
            if label
        ]
    table = pd.DataFrame(parts, columns=["label", "y0", "x0", "y1", "x1"], dtype=np.int64)
    return table.groupby("label").agg({"y0": "min", "x0": "min", "y1": "max", "x1": "max"})


def batches(labels: Any, margin: int = 0, boxes: pd.DataFrame | None = None) -> Iterator[Batch]:
    """Group the objects so that each is whole in one region of bounded size.

    An object belongs to the 1024 px tile that holds the middle of its bounding
    box, so no object is handled twice or cut, however large it is.

    Parameters
    ----------
    labels : array-like, (H, W), integer
    margin : int
        Pixels of surroundings wanted around each object, where there are any.
    boxes : DataFrame, optional
        What `bounding_boxes` returned, when it is known already.

    Yields
    ------
    Batch
    """
    boxes = bounding_boxes(labels) if boxes is None else boxes
    owner_y = (boxes.y0 + boxes.y1) // 2 // TILE
    owner_x = (boxes.x0 + boxes.x1) // 2 // TILE
    height, width = labels.shape
    for _, group in boxes.groupby([owner_y, owner_x]):
        region = (
            slice(max(int(group.y0.min()) - margin, 0), min(int(group.y1.max()) + margin, height)),
            slice(max(int(group.x0.min()) - margin, 0), min(int(group.x1.max()) + margin, width)),
        )
        yield Batch(region, group.index.to_numpy())
