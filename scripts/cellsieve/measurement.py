"""Size, form, DNA content and situation of every nucleus of a field."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import ConvexHull
from tqdm import tqdm

from cellsieve.objects import Batch, batches, bounding_boxes, renumber
from cellsieve.tables import MEASUREMENTS

OVERLAP_CONTACT = 0.15  # share of an outline that lies against other nuclei
_LEVEL = 1e-9  # pixels; what rounding may do to a pixel on a side of the hull
_PART = 0.4  # side of a part of a nucleus, in its diameters: chromatin is finer


def measure_nuclei(dapi: Any, nuclei: Any, pixel_size_um: float | None) -> pd.DataFrame:
    """Measure every nucleus, a few at a time.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    nuclei : array-like, (H, W), integer
        Instance labels.
    pixel_size_um : float or None
        Micrometre columns are empty without it.

    Returns
    -------
    DataFrame
        One row a label, ascending, with the columns of
        `cellsieve.tables.MEASUREMENTS`. Areas and centroids are of the label;
        ``dapi_sum`` is in camera counts. A nucleus touches the border when its
        box reaches the first or last row or column of the field.
    """
    boxes = bounding_boxes(nuclei)
    parts = [
        _measure_batch(dapi, nuclei, batch, boxes.loc[batch.labels])
        for batch in tqdm(
            list(batches(nuclei, 1, boxes)), desc="measure", unit="batch", disable=None
        )
    ]
    if not parts:
        return pd.DataFrame(columns=list(MEASUREMENTS))
    table = pd.concat(parts).sort_values("cell", ignore_index=True)
    height, width = nuclei.shape
    edge = (boxes.y0 == 0) | (boxes.x0 == 0) | (boxes.y1 == height) | (boxes.x1 == width)
    table["touches_border"] = edge.to_numpy()
    unit = pixel_size_um or np.nan
    for axis in "yx":
        table[f"{axis}_um"] = table[f"{axis}_px"] * unit
    table["area_um2"] = table["area_px"] * unit**2
    table["major_um"] = table.pop("major_px") * unit
    table["minor_um"] = table.pop("minor_px") * unit
    return table[list(MEASUREMENTS)]


def contact_share(labels: np.ndarray) -> np.ndarray:
    """Share of each object's outline that lies against other objects.

    Parameters
    ----------
    labels : ndarray, (H, W), integer
        Labels up to n.

    Returns
    -------
    ndarray, (n + 1,), float64
        Pixels with a 4-neighbour of another object, over pixels with a
        4-neighbour that is not the object itself.
    """
    outline, contact = (np.zeros(labels.shape, bool) for _ in range(2))
    for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        apart = labels[before] != labels[after]
        both = apart & (labels[before] > 0) & (labels[after] > 0)
        for side in (before, after):
            outline[side] |= apart
            contact[side] |= both
    outline &= labels > 0
    size = int(labels.max(initial=0)) + 1
    count = np.bincount(labels[outline], minlength=size)
    return np.bincount(labels[contact], minlength=size) / np.maximum(count, 1)


def convex_area(inside: np.ndarray) -> int:
    """Count the pixels of an object's convex hull.

    Parameters
    ----------
    inside : ndarray, (h, w), bool
        The object in its box.

    Returns
    -------
    int
        As ``area_convex`` of `skimage.measure.regionprops`: pixels whose centre lies in
        the hull of the middles of the pixels' edges.

    Notes
    -----
    Each side of the hull is a line; they cut every row of pixels from the left and from
    the right. scikit-image draws the hull and takes twice as long.
    """
    rows = np.flatnonzero(inside.any(axis=1))
    first = inside[rows].argmax(axis=1)
    last = inside.shape[1] - 1 - inside[rows, ::-1].argmax(axis=1)
    y = np.concatenate([rows, rows, rows - 0.5, rows - 0.5, rows + 0.5, rows + 0.5])
    x = np.concatenate([first - 0.5, last + 0.5, first, last, first, last])
    # outward normals and offsets of the sides
    normal_y, normal_x, offset = ConvexHull(np.stack([y, x], axis=1)).equations.T
    at = np.arange(rows[0], rows[-1] + 1)
    left, right = (
        -(offset[side, None] + normal_y[side, None] * at) / normal_x[side, None]
        for side in (normal_x < -_LEVEL, normal_x > _LEVEL)
    )
    inner = np.floor(right.min(axis=0) + _LEVEL) - np.ceil(left.max(axis=0) - _LEVEL) + 1
    return int(inner.sum())


def bright_part(inside: np.ndarray, counts: np.ndarray) -> float:
    """How bright the brightest part of a nucleus is, relative to its median.

    Parameters
    ----------
    inside : ndarray, (h, w), bool
        The nucleus in its box.
    counts : ndarray, (h, w)

    Returns
    -------
    float
        Mean over the square of 0.4 diameters in which it is highest. Where another nucleus
        or debris lies over a nucleus, the light of both adds up.
    """
    middle = np.median(counts[inside])
    if middle <= 0:
        return 1.0
    side = max(3, round(_PART * np.sqrt(4 * inside.sum() / np.pi)))
    own = np.where(inside, counts, 0).astype(np.float32)
    light, share = (
        ndimage.uniform_filter(part, side, mode="constant")
        for part in (own, inside.astype(np.float32))
    )
    # near the outline a square that is half outside still counts, a smaller part does not
    return float((light / np.maximum(share, 0.5))[inside].max() / middle)


def _measure_batch(dapi: Any, nuclei: Any, batch: Batch, boxes: pd.DataFrame) -> pd.DataFrame:
    present, labels = renumber(np.asarray(nuclei[batch.region]))
    # from 1 on, as if there were background in any case
    offset = 0 if present[0] == 0 else 1
    labels = (labels + offset).astype(np.int32)
    numbers = np.searchsorted(present, batch.labels) + offset
    counts = np.asarray(dapi[batch.region])
    contact = contact_share(labels)[numbers]
    places = boxes.to_numpy() - np.tile([part.start for part in batch.region], 2)
    corners = np.zeros((len(present) + offset, 2), np.int64)
    corners[numbers] = places[:, :2]
    table = _moments(labels, counts, corners).loc[numbers]
    table[["y_px", "x_px"]] += boxes[["y0", "x0"]].to_numpy()
    table.insert(0, "cell", batch.labels)
    parts = []
    for number, (y0, x0, y1, x1) in zip(numbers, places, strict=True):
        inside = labels[y0:y1, x0:x1] == number
        parts.append((convex_area(inside), bright_part(inside, counts[y0:y1, x0:x1])))
    convex, bright = np.array(parts).T
    return table.assign(
        solidity=table["area_px"] / convex,
        overlapping=contact > OVERLAP_CONTACT,
        contact=contact,
        bright_part=bright,
    )


def _moments(labels: np.ndarray, counts: np.ndarray, corners: np.ndarray) -> pd.DataFrame:
    """Area, centre, axes of the ellipse with the same second moments, and light, by label.

    Places are from the corner of each label's box, so that the last digits do not depend
    on where the tile begins.
    """
    places = np.nonzero(labels)
    own = labels[places]
    area = np.bincount(own)
    y, x = np.stack(places) - corners[own].T

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(own, values) / np.maximum(area, 1)

    centre_y, centre_x = mean(y), mean(x)
    dy, dx = y - centre_y[own], x - centre_x[own]
    yy, xx, xy = mean(dy * dy), mean(dx * dx), mean(dy * dx)
    middle, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    long, short = middle + spread, np.maximum(middle - spread, 0)
    roundness = np.divide(short, long, out=np.ones_like(long), where=long > 0)
    light = np.bincount(own, counts[places])
    return pd.DataFrame(
        {
            "y_px": centre_y,
            "x_px": centre_x,
            "area_px": area,
            "major_px": 4 * np.sqrt(long),
            "minor_px": 4 * np.sqrt(short),
            "eccentricity": np.sqrt(1 - roundness),
            "dapi_mean": light / np.maximum(area, 1),
            "dapi_sum": light,
        }
    )
