"""How far a segmenter agrees with pseudo-labels it has not learned from: no true label needed."""

from collections.abc import Sequence

import numpy as np

from cellsieve.benchmarks.metrics import count_overlap
from cellsieve.network_segmentation import View
from cellsieve.rescaled import Rescaled
from cellsieve.segmenters.interface import Outlined, Segmenter
from cellsieve.training.windows import Window

_MOSTLY = 0.5  # of its pixels are ignored: what a segmenter shows there is not judged


def outline_window(segmenter: Segmenter, window: Window) -> Outlined:
    """Outline the nuclei of a window at its own scale."""
    picture = window.shown.picture.astype(np.float32)
    view = View(Rescaled(picture, segmenter.diameter / window.diameter), 1.0, segmenter.step)
    seen, places = view.picture(tuple(slice(0, length) for length in picture.shape))
    return segmenter.segment(seen, *places)


def agreement(segmenter: Segmenter, windows: Sequence[Window]) -> float:
    """Panoptic quality of what a segmenter shows, judged by pseudo-labels.

    Objects that lie mostly where nothing is known count neither way.

    Parameters
    ----------
    segmenter : Segmenter
    windows : sequence of Window
        At least one.

    Returns
    -------
    float
        0 to 1, over the nuclei of all windows.

    References
    ----------
    Kirillov et al., Panoptic segmentation, CVPR 2019.
    """
    shared, objects = 0.0, 0
    for window in windows:
        found = outline_window(segmenter, window).labels
        overlap = count_overlap(window.shown.labels, found)
        matched = overlap.iou > 0.5
        unknown = np.bincount(found[window.shown.ignored], minlength=found.max() + 1)
        judged = unknown[overlap.predicted_labels] <= _MOSTLY * overlap.predicted_areas
        judged[overlap.columns[matched]] = True
        shared += float(overlap.iou[matched].sum())
        objects += len(overlap.true_labels) + int(judged.sum())
    return 2 * shared / objects if objects else 0.0
