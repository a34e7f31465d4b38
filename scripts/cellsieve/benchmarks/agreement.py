"""Compare the results of a run with what is known of its fields."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.benchmarks.bootstrap import estimate, mean, pooled
from cellsieve.benchmarks.metrics import (
    aggregated_jaccard,
    count_overlap,
    dice,
    foreground_iou,
    matches_at,
    panoptic,
)
from cellsieve.errors import UserError
from cellsieve.fish.false_cacs import upper_bound
from cellsieve.stores import open_labels

NORMAL_COUNT = 2  # signals of a probe
THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
_AP = tuple(f"ap{100 * threshold:.0f}" for threshold in THRESHOLDS)
# columns of the table whose mean over the fields is told
MEANS = ("dice", "iou", "aji", *_AP, "map", "pq", "sq", "rq", "count_error", "count_error_abs")


def compare_labels(truth: Any, predicted: Any) -> dict[str, float]:
    """Compare the label images of one field.

    Parameters
    ----------
    truth, predicted : array-like, (H, W), integer
        0 = background. Read tile by tile.

    Returns
    -------
    dict
        ``true, found, hits``, numbers of objects and of pairs at IoU 0.5;
        ``dice, iou`` of the foregrounds; ``aji``; ``ap50`` to ``ap95`` and
        their mean ``map``; ``pq, sq, rq``, panoptic quality, the mean IoU of
        matched objects and their F1; ``count_error``, found less true, and
        its absolute value.
    """
    overlap = count_overlap(truth, predicted)
    true, found = len(overlap.true_labels), len(overlap.predicted_labels)
    matches = matches_at(overlap, THRESHOLDS)
    precisions = [matched.average_precision for matched in matches]
    quality = panoptic(overlap)
    return {
        "true": true,
        "found": found,
        "hits": matches[0].true_positives,
        "dice": dice(overlap),
        "iou": foreground_iou(overlap),
        "aji": aggregated_jaccard(overlap),
        **dict(zip(_AP, precisions, strict=True)),
        "map": float(np.mean(precisions)),
        "pq": quality.quality,
        "sq": quality.segmentation,
        "rq": quality.recognition,
        "count_error": found - true,
        "count_error_abs": abs(found - true),
    }


def segmentation_table(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Compare all fields of a manifest that have a ``truth``.

    Parameters
    ----------
    rows : sequence of mapping
        ``field, nuclei, truth``.

    Returns
    -------
    DataFrame
        ``field`` and what `compare_labels` returns, one row a field.

    Raises
    ------
    UserError
        When a truth is not of its field's size.
    """
    compared = []
    for row in rows:
        if row["truth"]:
            with open_labels(row["truth"]) as truth, open_labels(row["nuclei"]) as nuclei:
                _check_shapes(row, truth, nuclei)
                compared.append({"field": row["field"], **compare_labels(truth, nuclei)})
    return pd.DataFrame(compared)


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Average over the fields, pool the objects, and say how sure each figure is.

    Parameters
    ----------
    table : DataFrame
        From `segmentation_table`, at least one row.

    Returns
    -------
    dict
        ``fields`` and ``nuclei``, numbers; for each of `MEANS` a dict with
        ``mean`` over the fields (for ``sq`` over those with a match), ``low``
        and ``high``; for ``precision, recall, f1`` at IoU 0.5 one with
        ``pooled`` over the nuclei of all fields, ``low`` and ``high``. The
        intervals are `cellsieve.benchmarks.bootstrap`'s, over fields; None where a figure
        cannot be had.
    """
    hits, true, found = (table[name].to_numpy() for name in ("hits", "true", "found"))
    detection = {
        "precision": pooled(hits, found),
        "recall": pooled(hits, true),
        "f1": pooled(2 * hits, true + found),
    }
    return {
        "fields": len(table),
        "nuclei": int(true.sum()),
        **{name: estimate(mean(table[name])).as_dict("mean") for name in MEANS},
        **{name: estimate(figure).as_dict("pooled") for name, figure in detection.items()},
    }


def join_truth(rows: Sequence[Mapping[str, str]], cells: pd.DataFrame) -> pd.DataFrame:
    """Put the simulator's truth beside each nucleus of ``cells.csv``.

    Parameters
    ----------
    rows : sequence of mapping
        ``field, nuclei, truth``; the truth table lies beside the label image,
        ``….cells.tsv`` beside ``….labels.tif``.
    cells : DataFrame
        ``cells.csv`` of the run.

    Returns
    -------
    DataFrame
        The nuclei that agree with a true one at IoU 0.5, with the columns of
        its truth under ``true_…``.
    """
    joined = []
    for row in rows:
        table = truth_table(row)
        if table is None:
            continue
        truth = pd.read_csv(table, sep="\t").add_prefix("true_")
        pairs = pair_nuclei(row)
        own = cells[cells["field"] == row["field"]].merge(pairs, on="cell")
        joined.append(own.merge(truth, left_on="true", right_on="true_label"))
    return pd.concat(joined, ignore_index=True) if joined else pd.DataFrame()


def compare_cells(joined: pd.DataFrame, probes: Sequence[str]) -> dict[str, Any]:
    """Compare scores, calls and signal counts with the truth.

    Parameters
    ----------
    joined : DataFrame
        From `join_truth`.
    probes : sequence of str

    Returns
    -------
    dict
        ``auroc`` of the anomaly score over assessable nuclei; numbers of
        suspicious nuclei by true class; for each probe the share of exact
        counts among nuclei with a state; what `compare_cacs` returns. What the truth
        does not tell is left out.
    """
    judged = joined[joined["call"] != "not_assessable"]
    abnormal = (judged["true_class"] != "normal").to_numpy()
    suspicious = (judged["call"] == "suspicious").to_numpy()
    result: dict[str, Any] = {
        "assessable_normal": int((~abnormal).sum()),
        "assessable_abnormal": int(abnormal.sum()),
        "suspicious_normal": int((suspicious & ~abnormal).sum()),
        "suspicious_abnormal": int((suspicious & abnormal).sum()),
        "auroc": auroc(judged["anomaly_score"].to_numpy(float), abnormal),
    }
    counted = [probe for probe in probes if f"true_{probe}" in joined]
    for probe in counted:
        known = joined[joined[f"{probe}_state"].isin(["loss", "normal", "gain"])]
        exact = known[probe] == known[f"true_{probe}"]
        result[f"exact_{probe}"] = float(exact.mean()) if len(known) else None
    if counted and {"true_overlapped", "true_touches_border"} <= set(joined):
        result |= compare_cacs(joined, counted)
    return result


def compare_cacs(joined: pd.DataFrame, probes: Sequence[str], min_gains: int = 2) -> dict[str, Any]:
    """Compare the calls from signals with the truth.

    Parameters
    ----------
    joined : DataFrame
        From `join_truth`.
    probes : sequence of str
    min_gains : int
        Gains that make a CAC.

    Returns
    -------
    dict
        ``fish_whole``, nuclei that in truth overlap no other and do not touch
        the border, and ``fish_whole_assessable``, those of them that were
        assessed; ``cac_true`` among the assessed and ``cac_found`` of these;
        ``cac_normal``, assessed ones that are none, ``cac_false``, of these
        called CAC, and ``cac_false_high``, the 95 % upper bound of their rate.
    """
    gains = (joined[[f"true_{probe}" for probe in probes]] > NORMAL_COUNT).sum(axis=1)
    assessed = joined["fish_call"] != "not_assessable"
    called = joined["fish_call"] == "cac"
    whole = (joined["true_overlapped"] == 0) & (joined["true_touches_border"] == 0)
    true, normal = assessed & (gains >= min_gains), assessed & (gains < min_gains)
    false = int((normal & called).sum())
    return {
        "fish_whole": int(whole.sum()),
        "fish_whole_assessable": int((whole & assessed).sum()),
        "cac_true": int(true.sum()),
        "cac_found": int((true & called).sum()),
        "cac_normal": int(normal.sum()),
        "cac_false": false,
        "cac_false_high": upper_bound(false) / int(normal.sum()) if normal.any() else None,
    }


def auroc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counted half; None without both classes.

    Parameters
    ----------
    score : ndarray, (n,), float
    positive : ndarray, (n,), bool
    """
    known = ~np.isnan(score)
    score, positive = score[known], positive[known]
    n = int(positive.sum())
    if n in (0, len(positive)):
        return None
    rank = pd.Series(score).rank().to_numpy()
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def truth_table(row: Mapping[str, str]) -> Path | None:
    """Return the table of what is known of each true nucleus, if it lies beside the labels.

    It is ``NAME.cells.tsv`` beside ``NAME.labels.tif``, with ``label`` and ``class``.
    """
    table = Path(row["truth"].replace(".labels.tif", ".cells.tsv")) if row["truth"] else None
    return table if table and table.suffix == ".tsv" and table.is_file() else None


def pair_nuclei(row: Mapping[str, str]) -> pd.DataFrame:
    """Return the nuclei of a field, ``cell``, that agree with a true one, ``true``, at IoU 0.5."""
    with open_labels(row["truth"]) as truth, open_labels(row["nuclei"]) as nuclei:
        overlap = count_overlap(truth, nuclei)
    pair = overlap.iou > 0.5  # above 0.5 a pair is the only one of both
    return pd.DataFrame(
        {
            "true": overlap.true_labels[overlap.rows[pair]],
            "cell": overlap.predicted_labels[overlap.columns[pair]],
        }
    )


def _check_shapes(row: Mapping[str, str], truth: Any, nuclei: Any) -> None:
    if tuple(truth.shape) != tuple(nuclei.shape):
        sizes = ["×".join(map(str, labels.shape)) for labels in (truth, nuclei)]
        raise UserError(
            f"field {row['field']}: {row['truth']} is {sizes[0]} px, the field {sizes[1]} px"
        )
