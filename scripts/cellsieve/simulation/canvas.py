"""The rows of a field that are being drawn."""

import numpy as np

from cellsieve.simulation.scene import Item
from cellsieve.simulation.slide import CHANNELS
from cellsieve.simulation.truth import Tally


class Canvas:
    """Light, labels and nuclei a pixel, for as many rows as are unfinished.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the field in pixels.
    strip : int
        Rows that are finished at a time.
    half : int
        Of the largest item; so far an item reaches beyond a strip.
    order : ndarray, (n,), int
        Height of each cell in the stack; the highest owns a pixel.
    tally : Tally
        Told of every overlap.

    Attributes
    ----------
    light : ndarray, (C, rows, W), float32
    labels : ndarray, (rows, W), uint32
    """

    def __init__(
        self, shape: tuple[int, int], strip: int, half: int, order: np.ndarray, tally: Tally
    ):
        rows = min(strip + 2 * half + 1, shape[0])
        self._shape = shape
        self._top = 0
        self._order = np.concatenate([[-1], order])  # the background lies below all
        self._tally = tally
        self.light = np.zeros((len(CHANNELS), rows, shape[1]), np.float32)
        self.labels = np.zeros((rows, shape[1]), np.uint32)
        self._stacked = np.zeros((rows, shape[1]), np.uint8)

    def window(self, item: Item) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where an item's patch lies on the canvas, and which part of the patch does."""
        on_canvas, in_patch = [], []
        for middle, origin, n in ((item.y, self._top, self._shape[0]), (item.x, 0, self._shape[1])):
            start = middle - item.half
            low, high = max(start, 0), min(middle + item.half + 1, n)
            on_canvas.append(slice(low - origin, max(low, high) - origin))
            in_patch.append(slice(low - start, max(low, high) - start))
        return tuple(on_canvas), tuple(in_patch)

    def stamp(self, item: Item, mask: np.ndarray) -> None:
        """Put a nucleus on the label image, above or below what is there."""
        here, part = self.window(item)
        mask, label = mask[part], item.index + 1
        owners, stacked = self.labels[here], self._stacked[here]
        self._tally.overlap(label, mask, owners, stacked)
        stacked += mask
        owners[mask & (self._order[owners] < self._order[label])] = label

    def take(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Give the finished rows away and move on."""
        n = rows.stop - rows.start
        taken = self.light[:, :n].copy(), self.labels[:n].copy()
        for plane in (*self.light, self.labels, self._stacked):
            kept = len(plane) - n
            plane[:kept] = plane[n:].copy()
            plane[kept:] = 0
        self._top = rows.stop
        return taken
