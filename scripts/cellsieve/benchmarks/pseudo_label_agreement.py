"""How good labels that nobody drew are, at each step on the way to them."""

from typing import Any

import numpy as np
import pandas as pd

from cellsieve.benchmarks.agreement import compare_labels
from cellsieve.benchmarks.bootstrap import difference, estimate, mean, pooled
from cellsieve.pseudo_labelling.mask_table import draw

SOURCES = ("coarse", "sam")
COMPARED = ("ap50", "aji", "map")


class Drawn:
    """The masks of a table seen as one label image, drawn where it is sliced.

    Parameters
    ----------
    table : DataFrame
        As `cellsieve.pseudo_labelling.mask_table.draw` takes it; where masks overlap the last
        row is seen.
    shape : tuple of int
        Height and width of the image.
    """

    def __init__(self, table: pd.DataFrame, shape: tuple[int, int]):
        self.table, self.shape = table, shape

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Return the region: 0 where there is no mask, else 1 and the row of the table."""
        return draw(self.table, np.arange(1, len(self.table) + 1), region)


def compare_steps(
    truth: Any, prompts: pd.DataFrame, masks: pd.DataFrame, verdicts: pd.DataFrame
) -> dict[str, float]:
    """Compare the candidates of one image, the model's masks and what was accepted.

    Parameters
    ----------
    truth : array-like, (H, W), integer
        Labels of the true nuclei.
    prompts, masks : DataFrame
        ``prompts.parquet`` and ``sam_masks.parquet`` of the image.
    verdicts : DataFrame
        What `cellsieve.pseudo_labelling.pseudo_labels.judge` returned for them.

    Returns
    -------
    dict
        ``nuclei, candidates, kept, accepted``, numbers; ``hits``, accepted
        ones that agree with a nucleus at IoU 0.5; ``precision``, their share
        of the accepted, and ``recall``, of the nuclei, not a number of none;
        of the kept candidates' outlines ``coarse_ap50, coarse_aji,
        coarse_map``, of their masks by the model, without duplicates and the
        surer one on top, ``sam_ap50, sam_aji, sam_map``.
    """
    accepted = verdicts[verdicts["accepted"].astype(bool)]
    found = compare_labels(truth, Drawn(accepted, truth.shape))
    kept = prompts[prompts["kept"].astype(bool)]
    single = masks[masks["duplicate_of"].isna()].sort_values("predicted_iou", kind="stable")
    row = {
        "nuclei": found["true"],
        "candidates": len(prompts),
        "kept": len(kept),
        "accepted": len(accepted),
        "hits": found["hits"],
        "precision": found["hits"] / len(accepted) if len(accepted) else np.nan,
        "recall": found["hits"] / found["true"] if found["true"] else np.nan,
    }
    for source, table in zip(SOURCES, (kept, single), strict=True):
        compared = compare_labels(truth, Drawn(table, truth.shape))
        row |= {f"{source}_{name}": compared[name] for name in COMPARED}
    return row


def summarise_steps(table: pd.DataFrame) -> dict[str, Any]:
    """Pool the nuclei, average over the images, and say how sure each figure is.

    Parameters
    ----------
    table : DataFrame
        One row an image, from `compare_steps`; at least one.

    Returns
    -------
    dict
        Numbers of ``images, nuclei, candidates, kept, accepted``; ``precision``
        and ``recall`` of the pseudo-labels at IoU 0.5, each ``of_nuclei``
        (pooled over all images) and ``of_images`` (mean of their values);
        ``coarse``, ``sam`` and ``sam_minus_coarse``, means over images of the
        measures in `COMPARED`. Each with the ends of its bootstrap interval
        over images.
    """
    detection = {
        name: {
            "of_nuclei": estimate(pooled(table["hits"], table[total])).as_dict("pooled"),
            "of_images": estimate(mean(table[name])).as_dict("mean"),
        }
        for name, total in (("precision", "accepted"), ("recall", "nuclei"))
    }
    figures = {
        source: {name: mean(table[f"{source}_{name}"]) for name in COMPARED} for source in SOURCES
    }
    coarse, sam = (figures[source] for source in SOURCES)
    return {
        "images": len(table),
        **{name: int(table[name].sum()) for name in ("nuclei", "candidates", "kept", "accepted")},
        **detection,
        **{
            source: {name: estimate(figure).as_dict("mean") for name, figure in of.items()}
            for source, of in figures.items()
        },
        "sam_minus_coarse": {
            name: difference(sam[name], coarse[name]).as_dict("mean") for name in COMPARED
        },
    }
