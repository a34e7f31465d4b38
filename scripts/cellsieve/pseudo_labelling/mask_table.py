"""Tables of masks: a row an object, its box and the run lengths of its mask within it.

Masks of one field may overlap and may be many; a label image could hold neither
their overlap nor, for a whole field, stay within memory. Here they are drawn only
where and when they are looked at.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.pseudo_labelling.run_length import decode

BOX = ["top_px", "left_px", "bottom_px", "right_px"]


def mask_of(row: Any) -> np.ndarray:
    """Return the mask, (h, w) bool, of one row of a table, within its box.

    Parameters
    ----------
    row : namedtuple or Series
        Has `BOX` and ``mask`` (run lengths, see `cellsieve.pseudo_labelling.run_length`).
    """
    return decode(row.mask, (row.bottom_px - row.top_px, row.right_px - row.left_px))


def draw(table: pd.DataFrame, numbers: np.ndarray, region: tuple[slice, slice]) -> np.ndarray:
    """Draw the masks that reach into a region, each with its number.

    Parameters
    ----------
    table : DataFrame
        `BOX` and ``mask``; where masks overlap, the last row is seen.
    numbers : ndarray, (n,), integer
        What to write for each row.
    region : tuple of slice
        ``(y, x)`` part of the plane.

    Returns
    -------
    ndarray, (h, w), uint32
        0 where there is no mask.
    """
    rows, cols = region
    canvas = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint32)
    reaching = (
        (table.top_px.to_numpy() < rows.stop)
        & (table.bottom_px.to_numpy() > rows.start)
        & (table.left_px.to_numpy() < cols.stop)
        & (table.right_px.to_numpy() > cols.start)
    )
    chosen = table.loc[reaching, [*BOX, "mask"]].itertuples(index=False)
    for row, number in zip(chosen, np.asarray(numbers)[reaching], strict=True):
        top, bottom = max(row.top_px, rows.start), min(row.bottom_px, rows.stop)
        left, right = max(row.left_px, cols.start), min(row.right_px, cols.stop)
        band = _band(row, top, bottom)[:, left - row.left_px : right - row.left_px]
        view = canvas[
            top - rows.start : bottom - rows.start, left - cols.start : right - cols.start
        ]
        view[band] = number
    return canvas


def intersection(row: Any, other: Any) -> int:
    """Count the pixels that two masks share."""
    top, left = max(row.top_px, other.top_px), max(row.left_px, other.left_px)
    bottom, right = min(row.bottom_px, other.bottom_px), min(row.right_px, other.right_px)
    if bottom <= top or right <= left:
        return 0
    first, second = (
        _band(r, top, bottom)[:, left - r.left_px : right - r.left_px] for r in (row, other)
    )
    return int((first & second).sum())


def touching_boxes(table: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows, by position and the smaller first, whose boxes overlap."""
    top, left, bottom, right = (table[name].to_numpy() for name in BOX)
    order = np.argsort(top, kind="stable")
    sorted_top = top[order]
    for place, i in enumerate(order):
        # only those that begin before this one ends
        others = order[place + 1 : np.searchsorted(sorted_top, bottom[i])]
        beside = (left[others] < right[i]) & (right[others] > left[i])
        yield from ((min(i, j), max(i, j)) for j in others[beside].tolist())


def _band(row: Any, top: int, bottom: int) -> np.ndarray:
    """Rows ``top`` to ``bottom`` of a mask, without decoding the others."""
    width = row.right_px - row.left_px
    first, last = (top - row.top_px) * width, (bottom - row.top_px) * width
    ends = np.clip(np.cumsum(row.mask), first, last)
    runs = np.diff(ends, prepend=first)
    return decode(runs, (bottom - top, width))
