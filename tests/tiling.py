"""Do nuclei depend on where tiles are cut?"""

import numpy as np
import zarr

from cellsieve.benchmarks.metrics import count_overlap
from cellsieve.network_segmentation import segment_with_network


def least_overlap(first, second):
    """Return the least IoU of a nucleus of one segmentation with its like in the other."""
    overlap = count_overlap(first, second)
    assert len(overlap.true_labels) == len(overlap.predicted_labels) > 0
    best = np.zeros(len(overlap.true_labels))
    np.maximum.at(best, overlap.rows, overlap.iou)
    return best.min()


def segment_in_tiles(segmenter, image, diameter, offset=(0, 0), intensity=1.0):
    """Segment a field with a network; return its labels."""
    found = segment_with_network(image, diameter, intensity, segmenter, zarr.group(), offset)
    return found.lookup[found.labels[0 : image.shape[0], 0 : image.shape[1]]]
