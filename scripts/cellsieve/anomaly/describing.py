"""Describe every nucleus of a field in the reference's scale."""

from typing import Any, Protocol

import numpy as np
import pandas as pd

from cellsieve.anomaly.nucleus_features import nucleus_features
from cellsieve.anomaly.reference_nuclei import Scale, typical_intensity
from cellsieve.anomaly.surroundings import brightest_specks
from cellsieve.crops import cut_crops
from cellsieve.objects import bounding_boxes

_CHUNK = 256  # crops that are held at once


class Describer(Protocol):
    """A network that says something of crops."""

    diameter: int  # of a typical nucleus in them, px

    def describe(self, crops: np.ndarray) -> pd.DataFrame:
        """Return a row a crop, of crops, (n, 2, s, s)."""


def describe_field(
    dapi: Any,
    nuclei: Any,
    field: str,
    quality: dict[str, Any],
    scale: Scale,
    network: Describer | None = None,
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
    network : Describer, optional
        See `cellsieve.anomaly_networks`.

    Returns
    -------
    DataFrame
        ``id, field, cell, f_*``, ``specks`` and what the network says; no row
        when the field has no nucleus.
    """
    ruler, intensity = scale.ruler(quality), typical_intensity(quality, dapi, nuclei)
    boxes = bounding_boxes(nuclei)
    table = nucleus_features(dapi, nuclei, ruler, boxes)
    table["specks"] = brightest_specks(dapi, nuclei, ruler, boxes)
    if network and len(boxes):
        parts = [boxes[start : start + _CHUNK] for start in range(0, len(boxes), _CHUNK)]
        crops = (
            cut_crops(dapi, nuclei, part, ruler, intensity, network.diameter) for part in parts
        )
        told = pd.concat([network.describe(some) for some in crops])
        table = table.join(told.set_axis(boxes.index))
    table.insert(0, "cell", table.index)
    table.insert(0, "field", field)
    table.insert(0, "id", [f"{field}:{cell}" for cell in table["cell"]])
    return table.reset_index(drop=True)
