"""Size, form, DNA content and situation of every nucleus of a field."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.measure import regionprops_table
from tqdm import tqdm

from cellsieve.objects import batches, bounding_boxes
from cellsieve.tables import MEASUREMENTS

OVERLAP_CONTACT = 0.15  # share of an outline that lies against other nuclei
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
        _measure_batch(dapi, nuclei, batch.region, batch.labels)
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
    size = int(labels.max(initial=0)) + 1
    cross = ndimage.generate_binary_structure(2, 1)
    largest = ndimage.maximum_filter(labels, footprint=cross, mode="nearest")
    smallest = ndimage.minimum_filter(labels, footprint=cross, mode="nearest")
    lowest_other = ndimage.minimum_filter(
        np.where(labels > 0, labels, size), footprint=cross, mode="nearest"
    )
    outline = (labels > 0) & ((largest != labels) | (smallest != labels))
    contact = (labels > 0) & ((largest != labels) | (lowest_other < labels))
    count = np.bincount(labels[outline], minlength=size)
    return np.bincount(labels[contact], minlength=size) / np.maximum(count, 1)


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


def _measure_batch(
    dapi: Any, nuclei: Any, region: tuple[slice, slice], owned: np.ndarray
) -> pd.DataFrame:
    present, labels = np.unique(np.asarray(nuclei[region]), return_inverse=True)
    # consecutive numbers: regionprops would visit every number up to the largest
    offset = 0 if present[0] == 0 else 1
    labels = labels.reshape([s.stop - s.start for s in region]) + offset
    numbers = np.searchsorted(present, owned) + offset
    counts = np.asarray(dapi[region], np.float64)
    contact = contact_share(labels)
    mine = np.isin(np.arange(labels.max() + 1), numbers)
    props = regionprops_table(
        np.where(mine[labels], labels, 0),
        counts,
        properties=(
            "label",
            "centroid",
            "area",
            "axis_major_length",
            "axis_minor_length",
            "eccentricity",
            "solidity",
            "intensity_mean",
        ),
        extra_properties=(bright_part,),
    )
    table = pd.DataFrame(props)
    return pd.DataFrame(
        {
            "cell": present[table["label"] - offset].astype(np.int64),
            "y_px": table["centroid-0"] + region[0].start,
            "x_px": table["centroid-1"] + region[1].start,
            "area_px": table["area"].astype(np.int64),
            "major_px": table["axis_major_length"],
            "minor_px": table["axis_minor_length"],
            "eccentricity": table["eccentricity"],
            "solidity": table["solidity"],
            "dapi_mean": table["intensity_mean"],
            "dapi_sum": table["intensity_mean"] * table["area"],
            "overlapping": contact[table["label"]] > OVERLAP_CONTACT,
            "contact": contact[table["label"]],
            "bright_part": table["bright_part"],
        }
    )
