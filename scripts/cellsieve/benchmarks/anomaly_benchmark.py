"""Anomaly methods on an equal footing: how well each tells nuclei of a known class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from cellsieve.benchmarks.agreement import pair_nuclei, truth_table
from cellsieve.errors import UserError
from cellsieve.tables import read_table
from cellsieve.wholeness import judge_wholeness

NORMAL = "normal"
VIEWS = {  # column: what it is called in the table
    "anomaly_crop": "nucleus",
    "anomaly_map": "surroundings",
    "anomaly_score": "joined",
    "pretext": "pretext",
    "window": "window",
    "localised": "localised",
    "joined_localised": "joined, localised",
}
_FALSE_POSITIVES = (0.01, 0.05)
_ALPHA = 0.05  # p up to which a nucleus counts as found
_ORDER = ["method", "backbone", "view", "class"]


def split_fields(
    rows: Sequence[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the fields that are learned from and those with known classes that are not.

    Parameters
    ----------
    rows : sequence of dict
        The manifest of a run.

    Raises
    ------
    UserError
        When one of both is missing.
    """
    learned = [row for row in rows if row["reference"] == "yes" or row["reference_nuclei"]]
    tested = [row for row in rows if row not in learned and truth_table(row)]
    if not learned or not tested:
        missing = "reference" if not learned else "truth with classes, and is no reference"
        raise UserError(f"no field has a {missing}; anomaly methods are compared with both")
    return learned, tested


def true_classes(row: Mapping[str, str]) -> pd.DataFrame:
    """Return the classes of a field's whole nuclei.

    Parameters
    ----------
    row : mapping
        ``field, nuclei, truth, measurements``.

    Returns
    -------
    DataFrame
        ``cell, class``: of nuclei that agree with a true one at IoU 0.5, touch no
        border, overlap no other and are no fragments.
    """
    table = truth_table(row)
    truth = pd.read_csv(table, sep="\t", dtype={"class": str}, keep_default_na=False)
    if missing := {"label", "class"} - set(truth):
        raise UserError(f"{table}: no column {min(missing)}; allowed: label and class")
    truth = truth[["label", "class"]]
    joined = pair_nuclei(row).merge(truth, left_on="true", right_on="label")
    measured = read_table(row["measurements"])
    whole = measured["cell"][judge_wholeness(measured).whole]
    return joined.loc[joined["cell"].isin(whole), ["cell", "class"]]


def figures(scores: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield how well each view tells each class, and all together, from normal nuclei.

    Parameters
    ----------
    scores : DataFrame
        ``class``, ``anomaly_p`` and columns of `VIEWS`, one row a nucleus.

    Yields
    ------
    dict
        ``view, class, normal, abnormal`` (numbers of nuclei), ``ap``, ``roc_auc``,
        ``pr_auc`` (trapezoidal), ``recall_fpr1`` and ``recall_fpr5`` (at 1 and 5 %
        false positives), and of ``joined`` ``recall_p5`` and ``fpr_p5`` (at
        p of at most 0.05).
    """
    normal = (scores["class"] == NORMAL).to_numpy()
    if not normal.any() or normal.all():
        share = f"{normal.sum()} of {len(normal)} nuclei"
        raise UserError(f"{share} have the class {NORMAL!r}; allowed: some, not all")
    groups = compared(scores)
    for column, view in VIEWS.items():
        if column in scores and scores[column].notna().all():
            for kind, among in groups.items():
                chosen = scores[among]
                found = _figures(~normal[among], chosen[column].to_numpy(float))
                if view == "joined":
                    found |= _called(~normal[among], chosen["anomaly_p"].to_numpy(float))
                yield {"view": view, "class": kind, **found}


def compared(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return, of all classes and of each, which nuclei are compared, (n,) bool."""
    normal = (scores["class"] == NORMAL).to_numpy()
    kinds = sorted(set(scores["class"]) - {NORMAL})
    groups = {"all": np.ones(len(scores), bool)} if len(kinds) > 1 else {}
    return groups | {kind: normal | (scores["class"] == kind).to_numpy() for kind in kinds}


def _figures(abnormal: np.ndarray, score: np.ndarray) -> dict[str, float]:
    precision, recall, _ = precision_recall_curve(abnormal, score)
    limits = np.quantile(score[~abnormal], [1 - share for share in _FALSE_POSITIVES])
    at_limits = {
        f"recall_fpr{100 * share:.0f}": float((score[abnormal] > limit).mean())
        for share, limit in zip(_FALSE_POSITIVES, limits, strict=True)
    }
    return {
        "normal": int((~abnormal).sum()),
        "abnormal": int(abnormal.sum()),
        "ap": float(average_precision_score(abnormal, score)),
        "roc_auc": float(roc_auc_score(abnormal, score)),
        "pr_auc": float(auc(recall, precision)),
        **at_limits,
    }


def _called(abnormal: np.ndarray, p: np.ndarray) -> dict[str, float]:
    called = p <= _ALPHA
    return {
        "recall_p5": float(called[abnormal].mean()),
        "fpr_p5": float(called[~abnormal].mean()),
    }


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds.

    Parameters
    ----------
    table : DataFrame
        ``method, backbone, seed, seconds_fit, seconds_field`` and what `figures` yields, one
        row a method, backbone, seed, view and class.

    Returns
    -------
    DataFrame
        Means, and standard deviations under ``…_sd`` where there are several seeds,
        in the order in which the methods came.
    """
    order = table[_ORDER].drop_duplicates()
    groups = table.drop(columns=["seed", "steps"], errors="ignore").groupby(_ORDER, sort=False)
    spread = groups.std().add_suffix("_sd").dropna(axis=1, how="all")
    spread = spread.drop(columns=["normal_sd", "abnormal_sd"], errors="ignore")
    merged = groups.mean().join(spread).join(groups.size().rename("seeds"))
    return order.merge(merged.reset_index(), on=_ORDER)
