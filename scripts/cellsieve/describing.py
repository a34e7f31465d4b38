"""Describe every nucleus of a field in the reference's scale."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.crops import cut_crops
from cellsieve.nucleus_features import nucleus_features
from cellsieve.objects import bounding_boxes
from cellsieve.reference_nuclei import Scale, typical_intensity
from cellsieve.surroundings import brightest_specks

_CHUNK = 256  # crops that are held at once

# crops, (n, 2, s, s), to a table with a row a crop
Describe = Callable[[np.ndarray], pd.DataFrame]


def describe_field(
    dapi: Any,
    nuclei: Any,
    field: str,
    quality: dict[str, Any],
    scale: Scale,
    describe: Describe | None = None,
) -> pd.DataFrame:
    """Describe all nuclei of a field.

    Parameters
    ----------
    dapi, nuclei : array-like, (H, W)
        Background-subtracted counts; labels.
    field : str
    quality : dict
        The field's qc.json.
    scale : Scale
        Of the reference.
    describe : callable, optional
        What a network says of crops, see `cellsieve.anomaly_networks.files.Network`.

    Returns
    -------
    DataFrame
        ``id, field, cell, f_*``, ``specks`` and the columns of ``describe``; no row
        when the field has no nucleus.
    """
    ruler, intensity = scale.ruler(quality), typical_intensity(quality)
    boxes = bounding_boxes(nuclei)
    table = nucleus_features(dapi, nuclei, ruler, boxes)
    table["specks"] = brightest_specks(dapi, nuclei, ruler, boxes)
    if describe and len(boxes):
        parts = [boxes[start : start + _CHUNK] for start in range(0, len(boxes), _CHUNK)]
        crops = (cut_crops(dapi, nuclei, part, ruler, intensity) for part in parts)
        told = pd.concat([describe(some) for some in crops])
        table = table.join(told.set_axis(boxes.index))
    table.insert(0, "cell", table.index)
    table.insert(0, "field", field)
    table.insert(0, "id", [f"{field}:{cell}" for cell in table["cell"]])
    return table.reset_index(drop=True)
