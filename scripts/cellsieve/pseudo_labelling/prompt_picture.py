"""A picture of the candidates of a field, for people to judge the prompts by."""

from typing import Any

import numpy as np
import pandas as pd

from cellsieve.pictures import (
    RGB,
    as_rgb,
    contrast_limits,
    outline_overlay,
    overview,
    sampled_labels,
    stretch,
)
from cellsieve.segmentation import Segmented

KEPT: RGB = (40, 220, 60)
REFUSED: RGB = (255, 50, 50)


def draw_prompts(dapi: Any, foreground: Any, found: Segmented, table: pd.DataFrame) -> np.ndarray:
    """Outline the candidates: kept ones green, refused ones red, each with its point.

    Parameters
    ----------
    dapi, foreground : array-like, (H, W)
        Of the preprocessed field; contrast is stretched over the foreground.
    found : Segmented
        What the candidates were made of.
    table : DataFrame
        From `cellsieve.pseudo_labelling.prompts.prompt_table`.

    Returns
    -------
    ndarray, (h, w, 3), uint8
        At most 1200 px on its longer side.
    """
    small, scale = overview(dapi)
    top = contrast_limits(dapi, 0, 95, where=foreground)[1]
    picture = as_rgb(stretch(small, (0.0, 1.3 * top), 0.6))
    labels = found.lookup[sampled_labels(found.labels, scale)]
    for kept, colour in ((True, KEPT), (False, REFUSED)):
        rows = table[table["kept"].astype(bool) == kept]
        chosen = np.zeros(len(found.lookup), bool)
        chosen[rows["candidate"].astype(int)] = True
        picture = outline_overlay(picture, np.where(chosen[labels], labels, 0), colour)
        points = (rows[["y_px", "x_px"]].to_numpy(float) // scale).astype(int)
        for step in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
            y, x = (points + step).clip(0, np.array(small.shape) - 1).T
            picture[y, x] = colour
    return picture
