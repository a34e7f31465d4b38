"""A field's nuclei outlined by a promptable model, each where it is pointed at."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from cellsieve.promptable.interface import Answers, PromptableModel, Prompts
from cellsieve.promptable.outlines import choose_masks, stability, trace
from cellsieve.pseudo_labelling.duplicates import duplicates
from cellsieve.pseudo_labelling.mask_table import BOX
from cellsieve.pseudo_labelling.prompts import build_prompts
from cellsieve.pseudo_labelling.run_length import encode
from cellsieve.rescaled import Rescaled
from cellsieve.tiles import Tile, tiles

SAM_MASKS = {
    "candidate": "int64",
    "top_px": "int64",
    "left_px": "int64",
    "bottom_px": "int64",
    "right_px": "int64",
    "mask": "object",  # cellsieve.pseudo_labelling.run_length, within the box
    "area_px": "int64",
    "predicted_iou": "float64",
    "stability": "float64",
    "duplicate_of": "Int64",  # a candidate
}
_SAME_OBJECT = 0.8  # IoU
_AT_ONCE = 256  # prompts whose logits are held


class Asked(NamedTuple):
    """Some prompts of one tile and their answers.

    Attributes
    ----------
    rows : ndarray, (N,), int
        Which prompts these are.
    prompts : Prompts
        In pixels of the tile's picture.
    answers : Answers
        In pixels of the tile's picture.
    corner : tuple of int
        ``(y, x)`` of the picture in the field at the model's scale.
    scale : float
        Pixels of the picture to a pixel of the field.
    """

    rows: np.ndarray
    prompts: Prompts
    answers: Answers
    corner: tuple[int, int]
    scale: float

    def outline(
        self, n: int, m: int, shape: tuple[int, int], point: np.ndarray
    ) -> tuple[int, int, np.ndarray]:
        """Draw mask ``m`` of prompt ``n`` in the field, see `outlines.trace`."""
        origin = self.answers.origins[n].astype(np.float64)
        corner = tuple((origin + self.corner) / self.scale)
        stride = self.answers.stride / self.scale
        return trace(self.answers.logits[n, m], corner, stride, shape, tuple(point))


def answer_field(
    dapi: Any,
    candidates: pd.DataFrame,
    model: PromptableModel,
    diameter: float | None,
    intensity: float | None,
    kinds: Sequence[str] | None = None,
    offset: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Outline every kept candidate of a field.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    candidates : DataFrame
        The whole of ``prompts.parquet``, columns as in `cellsieve.pseudo_labelling.prompts`.
    model : PromptableModel
    diameter : float or None
        Typical nucleus diameter of the field in pixels; None when it has none.
    intensity : float or None
        Typical intensity of the field's nuclei, counts.
    kinds : sequence of str, optional
        Kinds of prompts; by default those that measured best for the model.
    offset : tuple of int
        Shift of the tiles in the model's pixels, multiples of its stride. The
        masks depend on it as little as the model's ``halo`` allows.

    Returns
    -------
    DataFrame
        One row a kept candidate, in their order, columns as in `SAM_MASKS`. A
        candidate for which the model shows nothing has area 0 and an empty
        mask in the box of its prompt.
    """
    kept = candidates["kept"].to_numpy(bool)
    if not diameter or not intensity or not kept.any():
        return pd.DataFrame(columns=list(SAM_MASKS))
    prompts = Prompts(*build_prompts(candidates, kinds or model.prompts))
    prompts = _chosen(prompts, kept)
    table = candidates[kept].reset_index(drop=True)
    points = table[["y_px", "x_px"]].to_numpy(np.float64) + 0.5
    boxes = table[BOX].to_numpy()
    found: list[dict[str, Any]] = [{}] * len(table)
    for asked in ask(dapi, points, prompts, model, diameter, intensity, offset):
        choice = choose_masks(asked.answers, asked.prompts.boxes)
        for n, row in enumerate(asked.rows):
            top, left, mask = asked.outline(n, choice[n], dapi.shape, points[row])
            if not mask.size:
                top, left, bottom, right = boxes[row]
                mask = np.zeros((bottom - top, right - left), bool)
            found[row] = mask_row(top, left, mask, asked.answers, n, choice[n])
    return as_mask_table(pd.DataFrame(found), table)


def ask(
    dapi: Any,
    points: np.ndarray,
    prompts: Prompts,
    model: PromptableModel,
    diameter: float,
    intensity: float,
    offset: tuple[int, int] = (0, 0),
) -> Iterator[Asked]:
    """Answer prompts anywhere in a field, picture by picture.

    A prompt is answered in the tile whose core holds its point; the halo gives
    it its surroundings. Tiles without prompts are never looked at.

    Parameters
    ----------
    dapi, model, diameter, intensity, offset
        See `answer_field`.
    points : ndarray, (n, 2), float64
        ``(y, x)`` that decides in which tile a prompt is answered, in pixels of
        the field; the middle of its first pixel is (0.5, 0.5).
    prompts : Prompts
        In the same pixels.

    Yields
    ------
    Asked
        At most 256 prompts at once.
    """
    scale = model.diameter / diameter
    view = Rescaled(dapi, scale)
    places = np.clip((points * scale).astype(np.int64), 0, np.array(view.shape) - 1)
    size = model.side - 2 * model.halo
    grid = list(tiles(view.shape, size, model.halo, offset))
    for tile in tqdm(grid, unit="tile", disable=None):
        rows = np.flatnonzero(_within(places, tile.core))
        if not len(rows):
            continue
        embedding = model.embed(np.maximum(view[tile.padded], 0) / np.float32(intensity))
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            here = _in_picture(_chosen(prompts, some), tile, scale)
            corner = tuple(s.start for s in tile.padded)
            yield Asked(some, here, model.answer(embedding, here), corner, scale)


def mask_row(
    top: int, left: int, mask: np.ndarray, answers: Answers, n: int, m: int
) -> dict[str, Any]:
    """One mask as a row of the table, without its candidate."""
    return {
        "top_px": top,
        "left_px": left,
        "bottom_px": top + mask.shape[0],
        "right_px": left + mask.shape[1],
        "mask": encode(mask),
        "area_px": np.count_nonzero(mask),
        "predicted_iou": float(answers.predicted_iou[n, m]),
        "stability": float(stability(answers.logits[n, m])),
    }


def as_mask_table(found: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Say of which candidate each mask is, and which repeats another one.

    Parameters
    ----------
    found : DataFrame
        A row a mask, columns as in `SAM_MASKS` but ``candidate`` and
        ``duplicate_of``; changed in place.
    table : DataFrame
        The candidates, in the same order.

    Returns
    -------
    DataFrame
        Columns as in `SAM_MASKS`.
    """
    repeats = duplicates(found, _SAME_OBJECT)
    found["candidate"] = table["candidate"]
    better = pd.Series(table["candidate"].to_numpy()[repeats], dtype="Int64")
    found["duplicate_of"] = better.mask(repeats < 0)
    return found[list(SAM_MASKS)]


def _within(places: np.ndarray, region: tuple[slice, slice]) -> np.ndarray:
    low, high = ([s.start for s in region], [s.stop for s in region])
    return ((places >= low) & (places < high)).all(axis=1)


def _chosen(prompts: Prompts, rows: np.ndarray) -> Prompts:
    return Prompts(*(None if part is None else part[rows] for part in prompts))


def _in_picture(prompts: Prompts, tile: Tile, scale: float) -> Prompts:
    """Move prompts into a tile's picture; points and sides of boxes beyond it are left out."""
    height, width = (s.stop - s.start for s in tile.padded)
    corner = np.array([tile.padded[1].start, tile.padded[0].start])
    points = prompts.points.astype(np.float64) * scale - corner
    outside = ((points < 0) | (points > [width, height])).any(axis=-1)
    labels = np.where(outside, -1, prompts.point_labels)
    boxes = prompts.boxes
    if boxes is not None:
        boxes = boxes.astype(np.float64) * scale - [*corner, *corner]
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    return Prompts(points.astype(np.float32), labels, boxes)
