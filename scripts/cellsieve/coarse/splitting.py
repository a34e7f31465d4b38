"""Split the foreground into pieces without an edge inside; merge those without one between."""

from typing import Any

import numpy as np
from scipy import ndimage
from skimage import graph, segmentation

from cellsieve.coarse.finishing import finish, outline
from cellsieve.coarse.foreground import foreground
from cellsieve.coarse.scale import Scale, smooth_and_gradient

_SEPARATING = 1.8  # of a typical nucleus' edge, each relative to its brightness


def split_merge(image: np.ndarray, scale: Scale) -> np.ndarray:
    """Split into homogeneous pieces, then merge neighbours without an edge between them.

    Parameters
    ----------
    image : ndarray, (H, W)
        Background-subtracted counts.
    scale : Scale
        Of the field that the image is a piece of.

    Returns
    -------
    ndarray, (H, W), int32
        Instance labels; 0 = background.

    Notes
    -----
    The split and merge of Horowitz and Pavlidis (J. ACM 23, 368, 1976), with
    the catchment basins of the gradient in place of quadrants, so that pieces
    end at edges, and a region adjacency graph in place of the quadtree.
    """
    smooth, gradient = smooth_and_gradient(image, scale.diameter)
    mask = foreground(smooth, scale)
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    relative = gradient / np.maximum(smooth, scale.lowest) * (scale.core / scale.edge)
    pieces = segmentation.watershed(relative, mask=mask)
    labels = _merged(pieces, relative)
    cores = ndimage.mean(smooth, labels, np.arange(int(labels.max()) + 1))
    labels = outline(labels, cores, smooth)
    return finish(labels, smooth, gradient, scale)


def _merged(pieces: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Merge the pieces whose common border has no edge, the weakest border first."""
    adjacency = graph.rag_boundary(pieces, edges.astype(float))
    if 0 in adjacency:
        adjacency.remove_node(0)
    if not adjacency:
        return pieces
    merged = graph.merge_hierarchical(
        pieces,
        adjacency,
        thresh=_SEPARATING,
        rag_copy=False,
        in_place_merge=True,
        merge_func=_keep_first,
        weight_func=_common_border,
    )
    return segmentation.relabel_sequential(np.where(pieces > 0, merged + 1, 0))[0].astype(np.int32)


def _keep_first(adjacency: Any, first: int, second: int) -> None:
    """Nodes hold nothing but the labels that scikit-image keeps."""


def _common_border(adjacency: Any, first: int, second: int, other: int) -> dict[str, float]:
    """Mean edge along the border between the union of two pieces and another piece."""
    nothing = {"weight": 0.0, "count": 0}
    borders = [adjacency[piece].get(other, nothing) for piece in (first, second)]
    count = sum(border["count"] for border in borders)
    total = sum(border["count"] * border["weight"] for border in borders)
    return {"count": count, "weight": total / count}
