"""The crops of the normal nuclei that an anomaly network is fitted to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.anomaly.reference import split_reference
from cellsieve.anomaly.reference_nuclei import (
    Scale,
    choose_nuclei,
    reference_scale,
    typical_intensity,
)
from cellsieve.crops import SIDE, cut_crops
from cellsieve.objects import bounding_boxes
from cellsieve.stores import open_labels, open_zip

_MOST = 4000  # nuclei: no fit sees more of them in its steps


def cut_reference_crops(rows: Sequence[dict[str, Any]], seed: int) -> np.ndarray:
    """Cut the crops of the half of the reference that does not calibrate, or of 4,000 of them.

    Parameters
    ----------
    rows : sequence of dict
        Fields, as `cellsieve.anomaly.reference_model.build` takes them.
    seed : int
        The one of `cellsieve.anomaly.reference.split_reference`: nuclei that calibrate
        may not be learned from.

    Returns
    -------
    ndarray, (n, 2, s, s), float16
        As `cellsieve.crops.cut_crops` gives them.
    """
    usable = [row for row in rows if row["quality"]["diameter_px"]]
    boxes = [_boxes(row) for row in usable]
    tables = [
        pd.DataFrame({"cell": found.index}).assign(field=row["field"], slide=row["slide"])
        for row, found in zip(usable, boxes, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if table.empty:
        return np.zeros((0, 2, SIDE, SIDE), np.float16)
    kept = table[split_reference(table, seed).in_bank]
    if len(kept) > _MOST:
        kept = kept.sample(_MOST, random_state=seed).sort_index()
    scale = reference_scale(usable)
    return np.concatenate(
        [
            _cut(row, found.loc[kept["cell"][kept["field"] == row["field"]]], scale)
            for row, found in zip(usable, boxes, strict=True)
        ]
    )


def _boxes(row: dict[str, Any]) -> pd.DataFrame:
    with open_labels(row["nuclei"]) as nuclei:
        boxes = bounding_boxes(nuclei)
    return boxes.loc[choose_nuclei(row, boxes.index)]


def _cut(row: dict[str, Any], boxes: pd.DataFrame, scale: Scale) -> np.ndarray:
    quality = row["quality"]
    with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as nuclei:
        dapi = store["dapi"]
        intensity = typical_intensity(quality, dapi, nuclei)
        return cut_crops(dapi, nuclei, boxes, scale.ruler(quality), intensity)
