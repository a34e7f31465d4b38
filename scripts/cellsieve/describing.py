"""Describe every nucleus of a field in the reference's scale."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.crops import cut_crops
from cellsieve.nucleus_features import Ruler, nucleus_features
from cellsieve.objects import bounding_boxes
from cellsieve.reference_nuclei import Scale, zoom_factor
from cellsieve.surroundings import brightest_specks

_TINY = 1e-6
_CHUNK = 256  # crops that are held at once

# crops, (n, 2, s, s), to a table with a row a crop
Describe = Callable[[np.ndarray], pd.DataFrame]
# a field, its nuclei, their boxes, the ruler, the field's name and the counts of a typical
# nucleus, to a table with a row a nucleus
Localise = Callable[[Any, Any, pd.DataFrame, Ruler, str, float], pd.DataFrame]


def describe_field(
    dapi: Any,
    nuclei: Any,
    field: str,
    quality: dict[str, Any],
    scale: Scale,
    describe: Describe | None = None,
    localise: Localise | None = None,
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
    localise : callable, optional
        What a network says of the surroundings, see
        `cellsieve.anomaly_networks.localisation.Localiser`.

    Returns
    -------
    DataFrame
        ``id, field, cell, f_*``, ``specks`` and the columns of both callables; no row
        when the field has no nucleus.
    """
    ruler = Ruler(scale.diameter, zoom_factor(quality["pixel_size_um"], scale.pixel_size_um))
    boxes = bounding_boxes(nuclei)
    table = nucleus_features(dapi, nuclei, ruler, boxes)
    # given nuclei may be where the survey saw none
    intensity = quality["nuclear_intensity"] or _TINY
    table["specks"] = brightest_specks(dapi, nuclei, ruler, boxes)
    if localise and len(boxes):
        table = table.join(localise(dapi, nuclei, boxes, ruler, field, intensity))
    if describe and len(boxes):
        parts = [boxes[start : start + _CHUNK] for start in range(0, len(boxes), _CHUNK)]
        crops = (cut_crops(dapi, nuclei, part, ruler, intensity) for part in parts)
        told = pd.concat([describe(some) for some in crops])
        table = table.join(told.set_axis(boxes.index))
    table.insert(0, "cell", table.index)
    table.insert(0, "field", field)
    table.insert(0, "id", [f"{field}:{cell}" for cell in table["cell"]])
    return table.reset_index(drop=True)
