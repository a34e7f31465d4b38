"""Compare the results of a run with what is known of its fields."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.metrics import dice, iou_matrix, match
from cellsieve.stores import open_labels

THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def compare_labels(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Compare the label images of one field.

    Parameters
    ----------
    truth, predicted : ndarray, (H, W), integer
        0 = background.

    Returns
    -------
    dict
        ``true, found, hits`` at IoU 0.5; ``dice``; ``ap50``; ``map``, the mean
        AP over IoU 0.5 to 0.95 in steps of 0.05.
    """
    iou = iou_matrix(truth, predicted)
    at_half = match(iou)
    return {
        "true": iou.shape[0],
        "found": iou.shape[1],
        "hits": at_half.true_positives,
        "dice": dice(truth, predicted),
        "ap50": at_half.average_precision,
        "map": float(np.mean([match(iou, t).average_precision for t in THRESHOLDS])),
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
    """
    compared = []
    for row in rows:
        if row["truth"]:
            with open_labels(row["truth"]) as truth, open_labels(row["nuclei"]) as nuclei:
                result = compare_labels(np.asarray(truth[:]), np.asarray(nuclei[:]))
            compared.append({"field": row["field"], **result})
    return pd.DataFrame(compared)


def summarise(table: pd.DataFrame) -> dict[str, float]:
    """Average Dice, AP50 and mean AP over the fields; pool the objects for F1."""
    total = table["true"].sum() + table["found"].sum()
    return {
        "fields": len(table),
        "nuclei": int(table["true"].sum()),
        **{name: float(table[name].mean()) for name in ("dice", "ap50", "map")},
        "f1": float(2 * table["hits"].sum() / total) if total else 1.0,
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
        table = Path(row["truth"].replace(".labels.tif", ".cells.tsv")) if row["truth"] else None
        if table is None or table.suffix != ".tsv" or not table.is_file():
            continue
        truth = pd.read_csv(table, sep="\t").add_prefix("true_")
        pairs = _pairs(row)
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
        counts among nuclei with a state.
    """
    judged = joined[joined["call"] != "not_assessable"]
    abnormal = (judged["true_class"] == "abnormal").to_numpy()
    suspicious = (judged["call"] == "suspicious").to_numpy()
    result: dict[str, Any] = {
        "assessable_normal": int((~abnormal).sum()),
        "assessable_abnormal": int(abnormal.sum()),
        "suspicious_normal": int((suspicious & ~abnormal).sum()),
        "suspicious_abnormal": int((suspicious & abnormal).sum()),
        "auroc": auroc(judged["anomaly_score"].to_numpy(float), abnormal),
    }
    for probe in probes:
        known = joined[joined[f"{probe}_state"].isin(["loss", "normal", "gain"])]
        exact = known[probe] == known[f"true_{probe}"]
        result[f"exact_{probe}"] = float(exact.mean()) if len(known) else None
    return result


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


def _pairs(row: Mapping[str, str]) -> pd.DataFrame:
    with open_labels(row["truth"]) as image, open_labels(row["nuclei"]) as nuclei:
        truth, predicted = np.asarray(image[:]), np.asarray(nuclei[:])
    iou = iou_matrix(truth, predicted)
    true, found = np.nonzero(iou > 0.5)  # above 0.5 a pair is the only one of both
    labels = (np.unique(image_labels[image_labels > 0]) for image_labels in (truth, predicted))
    true_labels, found_labels = labels
    return pd.DataFrame({"true": true_labels[true], "cell": found_labels[found]})
