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

_CHUNK = 256  # crops that are held at once

Embed = Callable[[np.ndarray], np.ndarray]  # crops, (n, 2, s, s), to unit vectors, (n, d)


def describe_field(
    dapi: Any,
    nuclei: Any,
    field: str,
    quality: dict[str, Any],
    scale: Scale,
    embed: Embed | None = None,
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
    embed : callable, optional
        Turns crops of nuclei into unit vectors; without it there are none.

    Returns
    -------
    DataFrame
        ``id, field, cell, f_*``, ``speck`` and ``e_*``; no row when the field has
        no nucleus.
    """
    ruler = Ruler(scale.diameter, zoom_factor(quality["pixel_size_um"], scale.pixel_size_um))
    boxes = bounding_boxes(nuclei)
    table = nucleus_features(dapi, nuclei, ruler, boxes)
    table["speck"] = brightest_specks(dapi, nuclei, ruler, boxes)
    if embed and len(boxes):
        parts = [boxes[start : start + _CHUNK] for start in range(0, len(boxes), _CHUNK)]
        intensity = quality["nuclear_intensity"]
        vectors = [embed(cut_crops(dapi, nuclei, part, ruler, intensity)) for part in parts]
        table = table.join(_columns(np.concatenate(vectors), boxes.index))
    table.insert(0, "cell", table.index)
    table.insert(0, "field", field)
    table.insert(0, "id", [f"{field}:{cell}" for cell in table["cell"]])
    return table.reset_index(drop=True)


def _columns(vectors: np.ndarray, cells: pd.Index) -> pd.DataFrame:
    names = [f"e_{number:03d}" for number in range(vectors.shape[1])]
    return pd.DataFrame(vectors, cells, names)
