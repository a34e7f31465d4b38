"""What a segmenter is sure of joins the labels where nothing was known."""

from collections.abc import Sequence

import numpy as np

from cellsieve.segmenters.interface import Segmenter
from cellsieve.training.pseudo_agreement import outline_window
from cellsieve.training.windows import Window

_SURE = 0.9  # confidence
_UNKNOWN = 0.7  # of its pixels lie where nothing is known
_SIZES = (0.2, 4.0)  # of a typical nucleus' area


def add_confident(segmenter: Segmenter, windows: Sequence[Window]) -> tuple[list[Window], int]:
    """Label what the segmenter is sure of, where the pseudo-labels say nothing.

    Parameters
    ----------
    segmenter : Segmenter
    windows : sequence of Window

    Returns
    -------
    windows : list of Window
        With the labels that were there and the new ones.
    added : int
        Number of new ones.
    """
    grown = [_grow(segmenter, window) for window in windows]
    return [window for window, _ in grown], sum(added for _, added in grown)


def _grow(segmenter: Segmenter, window: Window) -> tuple[Window, int]:
    found, confidence = outline_window(segmenter, window)
    labels, ignored = window.shown.labels.copy(), window.shown.ignored.copy()
    typical = np.pi / 4 * window.diameter**2
    area = np.bincount(found.ravel(), minlength=len(confidence))
    unknown = np.bincount(found[ignored & (labels == 0)], minlength=len(confidence))
    sure = (confidence >= _SURE) & (unknown >= _UNKNOWN * area)
    sure &= (area > _SIZES[0] * typical) & (area < _SIZES[1] * typical)
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    sure[edge] = False  # cut by the window
    new = np.flatnonzero(sure)
    for number, label in enumerate(new, labels.max() + 1):
        mask = (found == label) & (labels == 0)
        labels[mask], ignored[mask] = number, False
    shown = window.shown._replace(labels=labels, ignored=ignored)
    return window._replace(shown=shown), len(new)
