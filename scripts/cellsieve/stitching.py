"""Segment a plane of any size piece by piece, without seams."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from cellsieve.tiles import Tile, tiles


def segment_tiled(
    outline: Callable[[tuple[slice, slice]], np.ndarray],
    labels: Any,
    tile: int,
    halo: int,
    offset: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Segment every tile with its surroundings; each object belongs to one tile.

    Parameters
    ----------
    outline : callable
        Takes a region of the plane, returns its labels (0 = background).
    labels : array-like, (H, W), uint32, all zero
        Written to, in the order in which objects are found.
    tile, halo : int
        Side of a tile and width of its surroundings in pixels; the halo must
        exceed the largest object.
    offset : tuple of int
        Shifts the grid; the objects do not depend on it.

    Returns
    -------
    ndarray, (n + 1,), uint32
        Final label for each label written: numbered by each object's first
        pixel in reading order, which does not depend on how tiles were cut.

    Notes
    -----
    An object belongs to the tile whose core holds its centroid, and is written
    whole, also beyond the core. Where two tiles disagree by a pixel about
    neighbours, the tile that comes first in reading order keeps it.
    """
    grid = list(tiles(labels.shape, tile, halo, offset))
    first_pixel: list[int] = [-1]
    for piece in tqdm(grid, desc="segment", unit="tile", disable=None):
        found = np.asarray(outline(piece.padded))
        if not found.any():
            continue
        present = np.asarray(labels[piece.padded])
        new, positions = _owned(found, piece, present, labels.shape[1], len(first_pixel))
        if positions:
            labels[piece.padded] = np.where(new > 0, new, present)
            first_pixel += positions
    order = np.argsort(first_pixel, kind="stable")
    lookup = np.empty(len(first_pixel), np.uint32)
    lookup[order] = np.arange(len(first_pixel), dtype=np.uint32)
    return lookup


def _owned(
    found: np.ndarray, piece: Tile, present: np.ndarray, width: int, following: int
) -> tuple[np.ndarray, list[int]]:
    """Number the tile's own objects from ``following``; return them and their first pixels."""
    new = np.zeros(found.shape, np.uint32)
    positions: list[int] = []
    core = piece.core_in_padded
    for label, box in enumerate(ndimage.find_objects(found), 1):
        if box is None:
            continue
        mask = found[box] == label
        rows, cols = np.nonzero(mask)
        centre = (rows.mean() + box[0].start, cols.mean() + box[1].start)
        # a pixel beyond the core too: two tiles may each see the centroid on the other's side
        if not all(s.start - 1 <= c < s.stop + 1 for c, s in zip(centre, core, strict=True)):
            continue
        free = mask & (present[box] == 0)
        # mostly taken: a neighbouring tile has written the same object
        if 2 * free.sum() <= mask.sum():
            continue
        view = new[box]
        view[free] = following + len(positions)
        row, col = np.argwhere(free)[0]
        y = int(row) + box[0].start + piece.padded[0].start
        x = int(col) + box[1].start + piece.padded[1].start
        positions.append(y * width + x)
    return new, positions
