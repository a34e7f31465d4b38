"""What a mask must be measured by to tell whether it outlines one nucleus."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from cellsieve.objects import batches
from cellsieve.pseudo_labelling.mask_table import BOX, draw, mask_of
from cellsieve.survey import noise_level
from cellsieve.tiles import sample_windows

LARGEST_AREA = 4.0  # typical areas; what is larger is no single nucleus and not looked at
_LARGEST_SIDE = 5.0  # diameters, of the box
_SMOOTHING = 0.05  # Gaussian sigma in diameters
_RING = (0.08, 0.3)  # distance from the outline in diameters: beyond the blur, near by
_BESIDE = 0.15  # diameters outside the outline that are searched for more of the nucleus
_LOW, _HIGH = 0.35, 0.65  # levels between background and nucleus
_LOBE_SMOOTHING = 0.08  # diameters: smooths chromatin, not nuclei
_LOBE_SHARE = 0.15  # of the mask; spots of chromatin are smaller than lobes
_LEVELS = np.linspace(0.3, 0.975, 28)
_TINY = 1e-9

MEASURES = {
    "relative_area": "float64",
    "fill": "float64",
    "misfit": "float64",
    "width_to_length": "float64",
    "shared_outline": "float64",
    "shape_neck": "float64",
    "brightness": "float64",
    "contrast": "float64",
    "contrast_to_noise": "float64",
    "outline_fit": "float64",
    "edge_stability": "float64",
    "intensity_neck": "float64",
}


class _Surroundings(NamedTuple):
    """Crops around one mask, all of one shape."""

    mask: np.ndarray
    others: np.ndarray
    counts: np.ndarray
    smooth: np.ndarray
    distance: np.ndarray


def typical_area(diameter: float) -> float:
    """Area in pixels of a disc of the typical diameter."""
    return np.pi * diameter**2 / 4


def of_nuclear_size(table: pd.DataFrame, diameter: float) -> np.ndarray:
    """Tell, for each row, whether its mask is not empty and small enough to be looked at.

    Parameters
    ----------
    table : DataFrame
        `cellsieve.pseudo_labelling.mask_table.BOX` and ``area_px``.
    diameter : float
        Typical nucleus diameter in pixels.

    Returns
    -------
    ndarray, (n,), bool
    """
    side = np.maximum(table.bottom_px - table.top_px, table.right_px - table.left_px)
    small = (table.area_px <= LARGEST_AREA * typical_area(diameter)) & (
        side <= _LARGEST_SIDE * diameter
    )
    return (small & (table.area_px > 0)).to_numpy()


def measure_nuclei(
    dapi: Any, masks: pd.DataFrame, neighbours: pd.DataFrame, diameter: float
) -> pd.DataFrame:
    """Measure form and intensity profile of each mask, reading the plane in pieces.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    masks : DataFrame
        ``candidate``, `mask_table.BOX`, ``mask``, ``area_px``; rows that are
        not `of_nuclear_size` are left out.
    neighbours : DataFrame
        All candidates of the field, with the same columns: where others lie is neither
        background nor part of the nucleus.
    diameter : float
        Typical nucleus diameter in pixels.

    Returns
    -------
    DataFrame
        Indexed by candidate; the columns of `MEASURES`. Lengths, areas and intensities
        are relative to the field's or to the nucleus' own, so that limits on them hold
        for other microscopes.
    """
    masks = masks[of_nuclear_size(masks, diameter)].set_index("candidate").sort_index()
    noise = float(np.median([noise_level(np.asarray(dapi[w])) for w in sample_windows(dapi)]))
    margin = int(np.ceil(_RING[1] * diameter)) + 2
    rows = {}
    boxes = masks[BOX].set_axis(["y0", "x0", "y1", "x1"], axis=1)
    sigma = max(0.7, _SMOOTHING * diameter)
    # the filter looks four sigma far, beyond what the measures look at
    for batch in batches(dapi, margin + int(np.ceil(4 * sigma)), boxes):
        counts = np.asarray(dapi[batch.region], np.float32)
        smooth = ndimage.gaussian_filter(counts, sigma)
        owners = draw(neighbours, neighbours.candidate.to_numpy(), batch.region)
        origin = tuple(s.start for s in batch.region)
        for row in masks.loc[batch.labels].itertuples():
            crops = _crops(row, origin, margin, (counts, smooth, owners))
            rows[row.Index] = _form(crops, diameter) | _profile(crops, diameter, noise)
    found = pd.DataFrame.from_dict(rows, orient="index", columns=list(MEASURES))
    return found.rename_axis("candidate").sort_index()


def _crops(
    row: Any, origin: tuple[int, int], margin: int, planes: tuple[np.ndarray, ...]
) -> _Surroundings:
    """Cut the box and its margin out of planes that begin at ``origin``."""
    starts = (row.top_px - origin[0], row.left_px - origin[1])
    stops = (row.bottom_px - origin[0], row.right_px - origin[1])
    view = tuple(slice(max(a - margin, 0), b + margin) for a, b in zip(starts, stops, strict=True))
    counts, smooth, owners = (plane[view] for plane in planes)
    mask = np.zeros(counts.shape, bool)
    inside = tuple(
        slice(a - v.start, b - v.start) for a, b, v in zip(starts, stops, view, strict=True)
    )
    mask[inside] = mask_of(row)
    others = (owners > 0) & (owners != row.Index) & ~mask
    return _Surroundings(mask, others, counts, smooth, ndimage.distance_transform_edt(~mask))


def _form(crops: _Surroundings, diameter: float) -> dict[str, float]:
    mask = crops.mask
    # a pixel is a square: it adds 1/12 to each variance
    moments = np.cov(np.nonzero(mask), ddof=0) + np.eye(2) / 12
    narrow, wide = np.sqrt(np.linalg.eigvalsh(moments))
    fill = float(mask.sum() / (4 * np.pi * narrow * wide))
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    depth = ndimage.gaussian_filter(depth, max(0.5, _SMOOTHING * diameter))
    outside = (crops.distance > 0) & (crops.distance < 1.5)
    area = float(mask.sum() / typical_area(diameter))
    return {
        "relative_area": area,
        "fill": fill,
        "misfit": (1 - fill) * area,
        "width_to_length": float(narrow / wide),
        "shared_outline": float(crops.others[outside].sum() / max(outside.sum(), 1)),
        "shape_neck": _neck(depth, mask, 0.0),
    }


def _profile(crops: _Surroundings, diameter: float, noise: float) -> dict[str, float]:
    mask, smooth = crops.mask, crops.smooth
    mean, outside = float(crops.counts[mask].mean()), _outside(crops, diameter)
    span = mean - outside
    near = mask | ((crops.distance <= _BESIDE * diameter) & ~crops.others)
    low, half, high = (near & (smooth > outside + f * span) for f in (_LOW, 0.5, _HIGH))
    sigma = max(0.7, _LOBE_SMOOTHING * diameter)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    lobes = ndimage.gaussian_filter(np.where(mask, crops.counts, 0), sigma)
    return {
        "brightness": mean,
        "contrast": span / max(mean, _TINY),
        "contrast_to_noise": span / max(noise, _TINY),
        "outline_fit": float((half & mask).sum() / max((half | mask).sum(), 1)),
        "edge_stability": float((high & mask).sum() / max(low.sum(), 1)),
        "intensity_neck": _neck(lobes / np.maximum(weight, _TINY), mask, _LOBE_SHARE),
    }


def _outside(crops: _Surroundings, diameter: float) -> float:
    """Median counts on a ring around the mask, where no other candidate lies if possible."""
    nearest, farthest = (d * diameter for d in _RING)
    ring = (crops.distance > nearest) & (crops.distance <= farthest)
    free = ring & ~crops.others
    values = crops.counts[free if free.any() else ring]
    return float(np.median(values)) if len(values) else 0.0


def _neck(height: np.ndarray, mask: np.ndarray, share: float) -> float:
    """Depth of the saddle between the two most separate lobes, relative to the lower lobe.

    Only lobes that cover ``share`` of the mask where they part are counted.
    """
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    height, mask = np.where(mask[box], height[box], 0), mask[box]
    summits = mask & (height == ndimage.maximum_filter(height, 3))
    smallest, deepest = share * mask.sum(), 0.0
    if ndimage.label(summits, np.ones((3, 3)))[1] < 2:
        return deepest
    for level in _LEVELS * height.max():
        pieces, count = ndimage.label(height > level)
        if count < 2:
            continue
        large = np.flatnonzero(np.bincount(pieces.ravel())[1:] >= smallest) + 1
        if len(large) > 1:
            second = np.sort(ndimage.maximum(height, pieces, large))[-2]
            deepest = max(deepest, 1 - level / second)
    return float(deepest)
