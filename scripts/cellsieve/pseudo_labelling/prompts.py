"""What a promptable model is told about each candidate: points and a box."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cellsieve.choices import PROMPT_KINDS
from cellsieve.pseudo_labelling.candidates import judge_candidates, measure_candidates
from cellsieve.pseudo_labelling.shape_limits import ShapeLimits
from cellsieve.segmentation import Segmented
from cellsieve.tiles import tiles

PROMPTS = {
    "candidate": "int64",
    "y_px": "float64",
    "x_px": "float64",
    "top_px": "int64",
    "left_px": "int64",
    "bottom_px": "int64",
    "right_px": "int64",
    "mask": "object",  # cellsieve.pseudo_labelling.run_length, within the box
    "area_px": "int64",
    "length_px": "float64",
    "width_px": "float64",
    "roundness": "float64",
    "solidity": "float64",
    "negative_y_px": "float64",
    "negative_x_px": "float64",
    "kept": "bool",
    "reason": "string",
}
MOST_NEIGHBOURS = 6  # a disc touches no more discs of its size
_REACH = 2.0  # typical diameters
_INSIDE, _OUTSIDE, _NO_POINT = 1, 0, -1
_TILE = 2048


def prompt_table(
    dapi: Any, found: Segmented, diameter: float | None, limits: ShapeLimits
) -> pd.DataFrame:
    """Make the table of a field's candidates and their points.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    found : Segmented
        The coarse segmentation of the field.
    diameter : float or None
        Typical nucleus diameter in pixels; None when the field has no nuclei.
    limits : ShapeLimits
        What a single nucleus may look like.

    Returns
    -------
    DataFrame
        Columns as in `PROMPTS`, a row a candidate in reading order; empty
        without candidates.
    """
    table = measure_candidates(found.labels)
    if diameter is None or table.empty:
        return pd.DataFrame(columns=list(PROMPTS))
    table["candidate"] = found.lookup[table.pop("label")]
    table = judge_candidates(table, diameter, limits).sort_values("candidate", ignore_index=True)
    table["negative_y_px"], table["negative_x_px"] = darkest_pixel(dapi)
    return table[list(PROMPTS)]


def darkest_pixel(plane: Any) -> tuple[int, int]:
    """Find the darkest pixel of a plane, the first in reading order of equal ones.

    Parameters
    ----------
    plane : array-like, (H, W)
        Read tile by tile.

    Returns
    -------
    tuple of int
        ``(y, x)``.
    """
    candidates = []
    for tile in tiles(plane.shape, _TILE):
        block = np.asarray(plane[tile.core])
        y, x = np.unravel_index(np.argmin(block), block.shape)
        place = (int(y) + tile.core[0].start, int(x) + tile.core[1].start)
        candidates.append((float(block[y, x]), *place))
    return min(candidates)[1:]


def neighbouring_centres(table: pd.DataFrame, most: int = MOST_NEIGHBOURS) -> np.ndarray:
    """Find the nearest other candidates of each, refused ones too.

    Parameters
    ----------
    table : DataFrame
        The whole of ``prompts.parquet``, columns as in `PROMPTS`.
    most : int
        Largest number of neighbours.

    Returns
    -------
    ndarray, (n, most, 2), float64
        ``(y, x)`` of their positive points in pixels of the field, as in the
        table, nearest first; only those within two typical diameters (of the
        table's median area), NaN where there are fewer.
    """
    centres = table[["y_px", "x_px"]].to_numpy(np.float64)
    found = np.full((len(table), most, 2), np.nan)
    if len(table) < 2:
        return found
    reach = _REACH * 2 * np.sqrt(table["area_px"].median() / np.pi)
    # one more than wanted, since each point finds itself
    distance, index = cKDTree(centres).query(centres, k=most + 1, distance_upper_bound=reach)
    itself = index == np.arange(len(table))[:, None]
    order = np.argsort(np.where(itself, np.inf, distance), axis=1, kind="stable")[:, :most]
    index = np.take_along_axis(np.where(itself, len(table), index), order, axis=1)
    return np.concatenate([centres, [[np.nan, np.nan]]])[index]


def build_prompts(
    table: pd.DataFrame, kinds: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Turn candidates into the prompts of `cellsieve.promptable.interface`.

    Parameters
    ----------
    table : DataFrame
        The whole of ``prompts.parquet``: neighbours are looked for among all
        its rows, so choose the rows to be asked about afterwards.
    kinds : sequence of str
        Of ``point`` (inside the candidate), ``box``, ``darkest`` (outside: the
        darkest pixel of the image) and ``neighbours`` (outside: inside the
        neighbouring candidates).

    Returns
    -------
    points : ndarray, (n, P, 2), float32
        ``(x, y)`` in pixels of the field; the middle of its first pixel is
        (0.5, 0.5). Neighbours that there are not are (0, 0).
    point_labels : ndarray, (n, P), int32
        1 inside, 0 outside, -1 no point.
    boxes : ndarray, (n, 4), float32, or None
        ``(x0, y0, x1, y1)``; None unless ``box`` is asked for.

    Raises
    ------
    ValueError
        If a kind is unknown.
    """
    if unknown := set(kinds) - set(PROMPT_KINDS):
        raise ValueError(f"no such prompts: {sorted(unknown)}; there are {list(PROMPT_KINDS)}")
    groups = [(np.empty((len(table), 0, 2)), _INSIDE)]
    if "point" in kinds:
        groups.append((table[["y_px", "x_px"]].to_numpy(np.float64)[:, None], _INSIDE))
    if "darkest" in kinds:
        darkest = table[["negative_y_px", "negative_x_px"]].to_numpy(np.float64)
        groups.append((darkest[:, None], _OUTSIDE))
    if "neighbours" in kinds:
        groups.append((neighbouring_centres(table), _OUTSIDE))
    points = np.concatenate([centres for centres, _ in groups], axis=1)
    sides = np.concatenate([np.full(c.shape[:2], side, np.int32) for c, side in groups], axis=1)
    missing = np.isnan(points[..., 0])
    points = np.where(missing[..., None], 0, points[..., ::-1] + 0.5).astype(np.float32)
    boxes = table[["left_px", "top_px", "right_px", "bottom_px"]].to_numpy(np.float32)
    return points, np.where(missing, _NO_POINT, sides), boxes if "box" in kinds else None
