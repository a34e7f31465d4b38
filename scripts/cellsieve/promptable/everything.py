"""SAM's automatic mode: a grid of points over the field, and what is good of the answers."""

from typing import Any

import numpy as np
import pandas as pd

from cellsieve.promptable.interface import PromptableModel, Prompts
from cellsieve.promptable.outlines import stability
from cellsieve.pseudo_labelling.duplicates import duplicates
from cellsieve.pseudo_labelling.prompted import SAM_MASKS, Asked, ask, mask_row

# as in segment_anything.SamAutomaticMaskGenerator
_SPACING = 32  # px of the picture: 32 points on a side of 1024
_PREDICTED_IOU = 0.88
_STABILITY = 0.95
_SAME_OBJECT = 0.7  # IoU


def answer_everything(
    dapi: Any,
    model: PromptableModel,
    diameter: float | None,
    intensity: float | None,
    offset: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Outline whatever a model finds in a field without being told where to look.

    Parameters
    ----------
    dapi, model, diameter, intensity, offset
        See `cellsieve.pseudo_labelling.prompted.answer_field`.

    Returns
    -------
    DataFrame
        One row a mask, columns as in `cellsieve.pseudo_labelling.prompted.SAM_MASKS`; masks may
        overlap, as a part and a whole do. Duplicates are gone already.

    Notes
    -----
    Every mask of every point counts, not only the best one, if its predicted
    IoU is at least 0.88 and its stability 0.95. Masks that the edge of their
    logits cuts are dropped, and of masks with an IoU above 0.7 the one of
    highest predicted IoU stays. (SAM's own generator compares boxes there.)
    """
    if not diameter or not intensity:
        return pd.DataFrame(columns=list(SAM_MASKS))
    points = _grid(dapi.shape, _SPACING * diameter / model.diameter)
    labels = np.ones((len(points), 1), np.int32)
    prompts = Prompts(points[:, None, ::-1].astype(np.float32), labels, None)
    found = []
    for asked in ask(dapi, points, prompts, model, diameter, intensity, offset):
        for n, m in np.argwhere(_good(asked, dapi.shape)):
            top, left, mask = asked.outline(n, m, dapi.shape, points[asked.rows[n]])
            if mask.size:
                found.append(mask_row(top, left, mask, asked.answers, n, m))
    if not found:
        return pd.DataFrame(columns=list(SAM_MASKS))
    table = pd.DataFrame(found)
    order = ["top_px", "left_px", "bottom_px", "right_px", "area_px", "predicted_iou"]
    table = table.sort_values(order, kind="stable", ignore_index=True)
    table = table[duplicates(table, _SAME_OBJECT) < 0].reset_index(drop=True)
    table["candidate"] = np.arange(1, len(table) + 1)
    table["duplicate_of"] = pd.array([None] * len(table), "Int64")
    return table[list(SAM_MASKS)]


def _grid(shape: tuple[int, int], spacing: float) -> np.ndarray:
    """(y, x) of points all over a field, (n, 2), in reading order."""
    y, x = (np.arange(spacing / 2, max(length, spacing), spacing) for length in shape)
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)


def _good(asked: Asked, shape: tuple[int, int]) -> np.ndarray:
    """Which masks are good enough, and whole, (N, M) bool."""
    answers = asked.answers
    inside = answers.logits > 0
    worth = (answers.predicted_iou >= _PREDICTED_IOU) & (stability(answers.logits) >= _STABILITY)
    good = worth & inside.any((-2, -1))
    reach = answers.stride * np.array(inside.shape[-2:])
    first = (answers.origins + asked.corner) / asked.scale
    last = (answers.origins + asked.corner + reach) / asked.scale
    # nothing is cut where the field ends
    for axis, sums_over in ((0, -1), (1, -2)):
        shown = inside.any(sums_over)
        good &= ~(shown[..., 0] & (first[:, axis, None] > 0))
        good &= ~(shown[..., -1] & (last[:, axis, None] < shape[axis]))
    return good
