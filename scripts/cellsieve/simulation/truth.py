"""What is known about a simulated field."""

import numpy as np
import pandas as pd

from cellsieve.simulation.slide import PROBES

COLUMNS = (
    "label", "y_px", "x_px", "class", *(probe.lower() for probe in PROBES),
    "overlapped", "touches_border", "blur_px",
)  # fmt: skip


class Tally:
    """Sums over the labels, gathered strip by strip.

    Parameters
    ----------
    n : int
        Cells of the scene; cell ``i`` has label ``i + 1`` while drawing.
    shape : tuple of int
        Height and width of the field in pixels.
    """

    def __init__(self, n: int, shape: tuple[int, int]):
        self._shape = shape
        self._covered = np.zeros(n + 1, np.int64)  # pixels of the mask inside the field
        self._shared = np.zeros(n + 1, np.int64)  # of these, shared with another nucleus
        self._owned = np.zeros(n + 1, np.int64)  # of these, shown in the label image
        self._y = np.zeros(n + 1)
        self._x = np.zeros(n + 1)
        self._border = np.zeros(n + 1, bool)

    def overlap(
        self, label: int, mask: np.ndarray, owners: np.ndarray, stacked: np.ndarray
    ) -> None:
        """Count the pixels that a new nucleus shares with those before it.

        Parameters
        ----------
        label : int
            Of the new nucleus.
        mask : ndarray, (h, w), bool
            Its part in the field.
        owners : ndarray, (h, w), uint32
            Labels before it is drawn.
        stacked : ndarray, (h, w), uint8
            Nuclei a pixel before it is drawn.
        """
        self._covered[label] += mask.sum()
        self._shared[label] += (mask & (stacked > 0)).sum()
        # the only nucleus here until now; where there were two both were counted already
        first, pixels = np.unique(owners[mask & (stacked == 1)], return_counts=True)
        self._shared[first] += pixels

    def count(self, top: int, labels: np.ndarray) -> None:
        """Count the finished rows that start at ``top``."""
        height, width = self._shape
        n = len(self._owned)
        y, x = np.nonzero(labels)
        present = labels[y, x]
        self._owned += np.bincount(present, minlength=n)
        self._y += np.bincount(present, y + top, n)
        self._x += np.bincount(present, x, n)
        edges = [labels[:, 0], labels[:, width - 1]]
        edges += [labels[0]] if top == 0 else []
        edges += [labels[-1]] if top + len(labels) == height else []
        self._border[np.concatenate(edges)] = True

    def lookup(self) -> np.ndarray:
        """Return the final label of each label used while drawing, uint32.

        Labels that show no pixel are left out, so that the final ones run
        from 1 to n.
        """
        shown = self._owned > 0
        return (np.cumsum(shown) * shown).astype(np.uint32)

    def table(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return the truth.

        Parameters
        ----------
        cells : DataFrame
            The scene's cells.

        Returns
        -------
        DataFrame
            A row a label: ``label``; ``y_px``, ``x_px`` (centroid of its
            pixels); ``class`` (normal, abnormal); the number of signals of
            each probe; ``overlapped`` (share of the nucleus that covers or is
            covered by others); ``touches_border`` (0, 1); ``blur_px``
            (standard deviation of the blur it is seen with).
        """
        shown = self._owned[1:] > 0
        owned = self._owned[1:][shown]
        table = cells[shown].reset_index(drop=True)
        table["label"] = np.arange(1, len(table) + 1)
        table["y_px"] = (self._y[1:][shown] / owned).round(2)
        table["x_px"] = (self._x[1:][shown] / owned).round(2)
        table["class"] = np.where(table["abnormal"], "abnormal", "normal")
        table["overlapped"] = (self._shared[1:][shown] / self._covered[1:][shown]).round(4)
        table["touches_border"] = self._border[1:][shown].astype(int)
        table["blur_px"] = table["blur_px"].round(3)
        return table[list(COLUMNS)]
