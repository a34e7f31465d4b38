"""Masks that claim the same pixels: the better one has them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from cellsieve.pseudo_labelling.mask_table import BOX, draw, intersection, mask_of, touching_boxes
from cellsieve.pseudo_labelling.run_length import encode

_MOST = 0.2  # of the smaller mask; what overlaps more is another view of the same pixels
_SAME = 0.7  # IoU


class _Rival(NamedTuple):
    """A better mask with pixels in common: their share of the smaller mask, and whose it is."""

    share: float
    candidate: int
    same: bool


def overlap_complaints(masks: pd.DataFrame, quality: np.ndarray) -> dict[int, str]:
    """Say which masks a better one contradicts.

    Parameters
    ----------
    masks : DataFrame
        ``candidate``, `cellsieve.pseudo_labelling.mask_table.BOX`, ``mask``, ``area_px``; ascending
        candidates.
    quality : ndarray, (n,), float64
        The greater is the better; of equals the first.

    Returns
    -------
    dict of int to str
        Candidate to the reason why it is refused. A mask that is itself refused
        refuses no other.
    """
    area, candidate = masks.area_px.to_numpy(), masks.candidate.to_numpy()
    rivals: dict[int, list[_Rival]] = {}
    for better, worse, shared in _shared_pixels(masks, quality):
        smaller, union = min(area[better], area[worse]), area[better] + area[worse] - shared
        rival = _Rival(shared / smaller, int(candidate[better]), shared >= _SAME * union)
        rivals.setdefault(worse, []).append(rival)
    refused: dict[int, str] = {}
    for row in np.argsort(-quality, kind="stable").tolist():
        present = [rival for rival in rivals.get(row, []) if rival.candidate not in refused]
        if sum(rival.share for rival in present) > _MOST:
            worst = max(present)
            what = "repeats" if worst.same else "overlaps"
            refused[int(candidate[row])] = f"{what} candidate {worst.candidate}, which is better"
    return refused


def without_overlap(masks: pd.DataFrame, quality: np.ndarray) -> pd.DataFrame:
    """Give pixels that two masks claim to the better one.

    Parameters
    ----------
    masks, quality
        As in `overlap_complaints`.

    Returns
    -------
    DataFrame
        The same rows; the masks are disjoint. One that loses pixels keeps only its
        largest piece.
    """
    masks = masks.copy()
    rows = list(masks[[*BOX, "mask"]].itertuples(index=False))
    losses: dict[int, list[int]] = {}
    for better, worse, _ in _shared_pixels(masks, quality):
        losses.setdefault(worse, []).append(better)
    for worse, winners in losses.items():
        row = rows[worse]
        region = (slice(row.top_px, row.bottom_px), slice(row.left_px, row.right_px))
        kept = mask_of(row) & (draw(masks.iloc[winners], np.ones(len(winners)), region) == 0)
        pieces, count = ndimage.label(kept)
        if count > 1:
            kept = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        masks.iat[worse, masks.columns.get_loc("mask")] = encode(kept)
        masks.iat[worse, masks.columns.get_loc("area_px")] = int(kept.sum())
    return masks


def _shared_pixels(masks: pd.DataFrame, quality: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (better, worse, pixels in common) for each pair of rows that have any."""
    rows = list(masks[[*BOX, "mask"]].itertuples(index=False))
    for first, second in sorted(touching_boxes(masks)):
        shared = intersection(rows[first], rows[second])
        if shared:
            ahead = quality[first] >= quality[second]
            yield (first, second, shared) if ahead else (second, first, shared)
