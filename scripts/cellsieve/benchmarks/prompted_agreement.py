"""How well a promptable model outlines nuclei that it is shown by their true labels."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cellsieve.benchmarks.labelled_folder import Preprocessed
from cellsieve.promptable.interface import PromptableModel
from cellsieve.pseudo_labelling.candidates import measure_candidates
from cellsieve.pseudo_labelling.mask_table import intersection
from cellsieve.pseudo_labelling.prompted import answer_field
from cellsieve.pseudo_labelling.prompts import PROMPTS, darkest_pixel


def true_prompts(labels: Any, kinds: Sequence[str]) -> pd.DataFrame:
    """Prompts for every nucleus of a label image.

    Parameters
    ----------
    labels : array-like, (H, W), integer
        0 = background. Read a few nuclei at a time.
    kinds : sequence of str
        Kinds of prompts that the model will be given, as
        `cellsieve.pseudo_labelling.prompts.build_prompts` takes them. With ``point`` a nucleus'
        point is placed as a candidate's is; without it the model must not
        learn where within its box the nucleus lies, so that the point is the
        middle of the box.

    Returns
    -------
    DataFrame
        One row a nucleus, ascending: ``candidate``, its label, ``kept``, True,
        and what `cellsieve.pseudo_labelling.candidates.measure_candidates` returns.
    """
    table = measure_candidates(labels).rename(columns={"label": "candidate"})
    if table.empty:
        return pd.DataFrame(columns=list(PROMPTS))
    if "point" not in kinds:
        table["y_px"] = (table["top_px"] + table["bottom_px"] - 1) / 2
        table["x_px"] = (table["left_px"] + table["right_px"] - 1) / 2
    return table.assign(kept=True)


def prompted_ious(
    field: Preprocessed, model: PromptableModel, kinds: Sequence[str]
) -> pd.DataFrame:
    """Outline every true nucleus of an image and compare.

    Parameters
    ----------
    field : Preprocessed
    model : PromptableModel
    kinds : sequence of str
        As for `true_prompts`.

    Returns
    -------
    DataFrame
        One row a true nucleus, ascending: ``nucleus``, its label, and ``iou``
        with the mask that it was answered with: 0 where there was none, also
        when no diameter could be estimated. Masks that repeat another count.
    """
    prompts = true_prompts(field.labels, kinds)
    if "darkest" in kinds:
        y, x = darkest_pixel(field.dapi)
        prompts = prompts.assign(negative_y_px=float(y), negative_x_px=float(x))
    masks = answer_field(field.dapi, prompts, model, field.diameter, field.intensity, kinds)
    nuclei = {nucleus.candidate: nucleus for nucleus in prompts.itertuples()}
    ious = pd.Series(0.0, index=prompts["candidate"])
    for mask in masks.itertuples():
        nucleus = nuclei[mask.candidate]
        shared = intersection(nucleus, mask)
        ious[mask.candidate] = shared / (nucleus.area_px + mask.area_px - shared)
    return ious.rename_axis("nucleus").reset_index(name="iou")
