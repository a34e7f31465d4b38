"""One crop of a field under every method, side by side."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cellsieve.pictures import as_rgb, enlarge, outline_overlay

SIDE = 256  # px of the field
_COLUMNS = 4
_LENGTH = 512  # px of the longer side of a panel, about
_NARROWEST = 300  # px, for the title
_TITLE = 30  # px above a panel
_GAP = 8  # px


class Panel(NamedTuple):
    """What is shown under a title.

    Attributes
    ----------
    title : str
    labels : ndarray, (h, w), integer, or None
        Whose outlines are drawn; None for the field alone.
    note : str
        Written over the panel, which is dark then.
    """

    title: str
    labels: np.ndarray | None
    note: str = ""


def middle_field(table: pd.DataFrame) -> str:
    """Return the field of median AP50: neither the best nor the worst.

    Parameters
    ----------
    table : DataFrame
        ``field, ap50`` of one method, at least one row. Of an even number the
        lower middle; of equals the first.
    """
    ordered = table.sort_values("ap50", kind="stable")
    return str(ordered["field"].iloc[(len(ordered) - 1) // 2])


def densest_crop(truth: Any, side: int = SIDE) -> tuple[slice, slice]:
    """Return the square with the most nuclei, whatever any method makes of them.

    Parameters
    ----------
    truth : array-like, (H, W), integer
        Read square by square.
    side : int
        Of the square in pixels; the whole length of a plane that has less.

    Returns
    -------
    tuple of slice
        Squares are half a side apart; of equal ones the first in reading order.
    """
    corners = product(*(_starts(length, side) for length in truth.shape))
    regions = [tuple(slice(c, c + side) for c in corner) for corner in corners]
    nuclei = [np.count_nonzero(np.unique(np.asarray(truth[region]))) for region in regions]
    return regions[int(np.argmax(nuclei))]


def panels_picture(grey: np.ndarray, panels: Sequence[Panel]) -> np.ndarray:
    """Draw the same crop once a panel, four in a row.

    Parameters
    ----------
    grey : ndarray, (h, w), uint8
    panels : sequence of Panel

    Returns
    -------
    ndarray, (H, W, 3), uint8
    """
    factor = max(1, _LENGTH // max(grey.shape))
    large = enlarge(grey, factor)
    height, width = large.shape[0] + _TITLE + _GAP, max(large.shape[1], _NARROWEST) + _GAP
    rows = math.ceil(len(panels) / _COLUMNS)
    canvas = Image.new("RGB", (min(_COLUMNS, len(panels)) * width, rows * height), "white")
    pen = ImageDraw.Draw(canvas)
    for place, panel in enumerate(panels):
        row, column = divmod(place, _COLUMNS)
        left, top = column * width, row * height
        pen.text((left + 2, top + 4), panel.title, "black", ImageFont.load_default(18))
        canvas.paste(Image.fromarray(_outlined(large, panel, factor)), (left, top + _TITLE))
        pen.text((left + 10, top + _TITLE + 8), panel.note, "white", ImageFont.load_default(20))
    return np.asarray(canvas)


def _starts(length: int, side: int) -> list[int]:
    last = max(length - side, 0)
    return sorted({*range(0, last + 1, side // 2), last})


def _outlined(large: np.ndarray, panel: Panel, factor: int) -> np.ndarray:
    if panel.labels is None:
        return as_rgb(large // 4 if panel.note else large)
    return outline_overlay(large, enlarge(panel.labels, factor, smooth=False))
