"""From candidates to the nuclei that a network may be trained on.

A source gives each candidate a mask. Checks ask whether it outlines one nucleus;
of masks that claim the same pixels the better one stays; the choice keeps the
variety of what was found. What is refused becomes a region to ignore.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import zarr
from scipy import ndimage
from tqdm import tqdm

from cellsieve.errors import UserError
from cellsieve.pseudo_labelling.diversity import BINS, assign_bins, choose
from cellsieve.pseudo_labelling.ignore_regions import Region, grown, halo, ignored, paint
from cellsieve.pseudo_labelling.mask_table import BOX, draw, intersection
from cellsieve.pseudo_labelling.nucleus_checks import DOUBTFUL, complaints, quality
from cellsieve.pseudo_labelling.nucleus_measures import MEASURES, measure_nuclei, of_nuclear_size
from cellsieve.pseudo_labelling.overlaps import overlap_complaints, without_overlap
from cellsieve.stores import CHUNK, add_plane
from cellsieve.tiles import tiles

COLUMNS = {
    "candidate": "int64",
    "label": "Int64",
    "accepted": "bool",
    "reason": "string",
    "touches_border": "bool",
    "doubtful": "bool",  # accepted for the sake of its bins
    "quality": "float64",
    **dict.fromkeys(BINS, "string"),
    **MEASURES,
    "agreement": "float64",
    "predicted_iou": "float64",
    "stability": "float64",
}
_DIM_SHARE = 0.5  # of the brightness of the dimmer accepted nuclei: may be one more
_DIM_QUANTILE = 0.1
_SMOOTHING = 0.05  # Gaussian sigma in diameters
_CLEAR = 0.25  # diameters from anything bright at which background begins
_MASK = [*BOX, "mask", "area_px"]


def from_coarse(prompts: pd.DataFrame, masks: pd.DataFrame | None) -> pd.DataFrame:
    """Take the coarse outlines themselves, for runs without any promptable model.

    Parameters
    ----------
    prompts : DataFrame
        ``prompts.parquet``: a row a candidate.
    masks : DataFrame or None
        Not looked at.

    Returns
    -------
    DataFrame
        Indexed by candidate, a row each: the mask (box, run lengths, area),
        ``agreement, predicted_iou, stability`` (missing where there is no model)
        and ``refused``, a reason known already or empty.
    """
    found = prompts.set_index("candidate")[_MASK].copy()
    found[["agreement", "predicted_iou", "stability"]] = np.nan
    return found.assign(refused=prompts.reason.to_numpy())


def from_sam(prompts: pd.DataFrame, masks: pd.DataFrame | None) -> pd.DataFrame:
    """Take the masks of a network; parameters and result as of `from_coarse`.

    Raises
    ------
    UserError
        When the masks of the promptable model, or of Cellpose, are not those of the
        kept prompts.
    """
    if masks is None or set(masks.candidate) != set(prompts.candidate[prompts.kept]):
        raise UserError(
            "--masks: not made from these prompts; run segment_sam.py (or segment_cellpose.py) on"
            " them first"
        )
    found = from_coarse(prompts, None)
    answers = masks.set_index("candidate")
    coarse = found.loc[answers.index]
    answers = answers.assign(agreement=_agreement(coarse, answers))
    # repeats are not refused here: the better one of a pair may itself be refused
    answers["refused"] = np.where(answers.area_px == 0, "the model gives no mask", "")
    left_out = found.drop(index=answers.index)
    return pd.concat([answers[found.columns], left_out]).sort_index()


def _agreement(coarse: pd.DataFrame, answers: pd.DataFrame) -> list[float]:
    """IoU of the two masks of each row."""
    ious = []
    for one, other in zip(coarse.itertuples(), answers.itertuples(), strict=True):
        shared = intersection(one, other)
        ious.append(shared / max(one.area_px + other.area_px - shared, 1))
    return ious


SOURCES: dict[str, Callable[[pd.DataFrame, pd.DataFrame | None], pd.DataFrame]] = {
    "coarse": from_coarse,
    "sam": from_sam,
    "cellpose": from_sam,
}


def judge(
    dapi: Any,
    prompts: pd.DataFrame,
    masks: pd.DataFrame | None,
    source: str,
    diameter: float | None,
) -> pd.DataFrame:
    """Decide which candidates become pseudo-labels.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    prompts : DataFrame
        ``prompts.parquet``, in any order.
    masks : DataFrame or None
        ``sam_masks.parquet``, in any order.
    source : str
        A name in `SOURCES`.
    diameter : float or None
        Typical nucleus diameter in pixels; None when the field has no nuclei.

    Returns
    -------
    DataFrame
        Indexed by candidate, ascending: `COLUMNS` but ``candidate``, and the mask of
        each (box, run lengths, area). Masks of accepted ones are disjoint.
    """
    prompts = prompts.sort_values("candidate").reset_index(drop=True)
    found = SOURCES[source](prompts, masks)
    if not len(found) or diameter is None:
        empty = found.iloc[:0].reindex(columns=[*_MASK, *COLUMNS]).drop(columns="candidate")
        return empty.astype({"accepted": bool, "doubtful": bool})
    known = found.refused.to_numpy(object)
    looked_at = found[found.refused == ""].reset_index()
    found = found.join(measure_nuclei(dapi, looked_at, prompts, diameter))
    centres = prompts.set_index("candidate")[["y_px", "x_px"]]
    found = found.join(assign_bins(found.join(centres), diameter))
    found["touches_border"] = _touches(found, dapi.shape)
    found["quality"] = quality(found)
    too_large = (known == "") & ~of_nuclear_size(found, diameter)
    found.loc[(known != "") | too_large, "quality"] = -1.0
    known[too_large] = "large: beyond any single nucleus"
    reasons = np.where(known == "", complaints(found), known)
    found["reason"] = pd.Series(reasons, index=found.index, dtype="string")
    _refuse_overlaps(found)
    found["accepted"] = choose(found.quality.to_numpy(), found[list(BINS)])
    found["doubtful"] = found.accepted & (found.quality < 1)
    found.loc[found.accepted, "reason"] = ""
    return _number(found, dapi.shape[1]).drop(columns="refused")


def _refuse_overlaps(found: pd.DataFrame) -> None:
    plausible = found[found.quality >= DOUBTFUL].reset_index()
    refused = overlap_complaints(plausible, plausible.quality.to_numpy())
    for candidate, reason in refused.items():
        earlier = found.at[candidate, "reason"]
        found.at[candidate, "reason"] = f"{earlier}; {reason}" if earlier else reason
        found.at[candidate, "quality"] = -1.0


def _touches(masks: pd.DataFrame, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return (
        (masks.top_px == 0)
        | (masks.left_px == 0)
        | (masks.bottom_px == height)
        | (masks.right_px == width)
    ).to_numpy()


def _number(found: pd.DataFrame, width: int) -> pd.DataFrame:
    """Make the accepted masks disjoint and number them by their first pixel in reading order."""
    found = found.copy()
    accepted = found[found.accepted].reset_index()
    disjoint = without_overlap(accepted, accepted.quality.to_numpy()).set_index("candidate")
    found.loc[disjoint.index, ["mask", "area_px"]] = disjoint[["mask", "area_px"]]
    firsts = []
    for row in disjoint.itertuples():
        # the first run is background: the first pixel lies as far into the box
        y, x = divmod(int(row.mask[0]), row.right_px - row.left_px)
        firsts.append((row.top_px + y) * width + row.left_px + x)
    ranks = np.argsort(np.argsort(firsts)) + 1 if firsts else np.zeros(0)
    found["label"] = pd.Series(ranks, index=disjoint.index, dtype="Int64").reindex(found.index)
    return found


def write_store(
    group: zarr.Group,
    planes: tuple[Any, Any],
    verdicts: pd.DataFrame,
    prompts: pd.DataFrame,
    diameter: float,
    refused: str,
    seed: int,
) -> None:
    """Write labels, ignore region and, if asked for, the painted field, tile by tile.

    Parameters
    ----------
    group : zarr.Group
        Receives ``labels`` (uint32), ``ignore`` (uint8) and ``painted`` (as the plane).
    planes : tuple of array-like, (H, W)
        Background-subtracted counts, and what lies above the global threshold.
    verdicts : DataFrame
        From `judge`.
    prompts : DataFrame
        Their coarse masks are part of the region to ignore.
    diameter : float
        Typical nucleus diameter in pixels.
    refused : str
        ``ignore``, or ``paint`` over with background as in the literature.
    seed : int
        Of the painting.
    """
    dapi = planes[0]
    kept, masks = verdicts[verdicts.accepted], _refused_masks(verdicts, prompts, diameter)
    level = _DIM_SHARE * kept.brightness.quantile(_DIM_QUANTILE) if len(kept) else np.inf
    labels = add_plane(group, "labels", dapi.shape, np.uint32)
    ignore = add_plane(group, "ignore", dapi.shape, np.uint8)
    painted = add_plane(group, "painted", dapi.shape, dapi.dtype) if refused == "paint" else None
    margin = halo(diameter) + int((4 * _SMOOTHING + _CLEAR) * diameter) + 4
    grid = list(tiles(dapi.shape, CHUNK, margin))
    for number, tile in enumerate(tqdm(grid, desc="labels", unit="tile", disable=None)):
        counts = np.asarray(dapi[tile.padded])
        smooth = ndimage.gaussian_filter(counts.astype(np.float32), _SMOOTHING * diameter)
        bright = (np.asarray(planes[1][tile.padded]) > 0) | (smooth > level)
        seen = draw(masks, np.ones(len(masks)), tile.padded) > 0
        region = Region(draw(kept, kept.label.to_numpy(int), tile.padded), seen, bright)
        covered, core = ignored(region, diameter), tile.core_in_padded
        labels[tile.core] = region.labels[core]
        if painted is None:
            ignore[tile.core] = covered[core]
            continue
        background = counts[~grown(covered | bright | (region.labels > 0), _CLEAR * diameter)]
        rng = np.random.default_rng([seed, number])
        painted[tile.core] = paint(counts[core], covered[core], background, rng)


def _refused_masks(verdicts: pd.DataFrame, prompts: pd.DataFrame, diameter: float) -> pd.DataFrame:
    """Masks of what was not accepted: the coarse ones, and the model's where of nuclear size.

    A model that is lost may answer with all of the background, which is none.
    """
    refused = verdicts[~verdicts.accepted]
    coarse = prompts[prompts.candidate.isin(refused.index)]
    answers = refused[of_nuclear_size(refused, diameter)]
    return pd.concat([coarse[_MASK], answers[_MASK]], ignore_index=True)
