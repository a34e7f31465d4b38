"""What an anomaly method gains over the hand-made distance, nucleus for nucleus."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from cellsieve.benchmarks.anomaly_benchmark import NORMAL, compared

BASELINE = "features"
_FIGURES: dict[str, Callable] = {"roc_auc": roc_auc_score, "ap": average_precision_score}
_DRAWS = 200
_FEWEST = 5  # fields that are drawn whole; of fewer their nuclei are drawn
_ENDS = (2.5, 97.5)


def gains(scores: pd.DataFrame, base: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Compare the joined scores of a method with those of the baseline.

    Parameters
    ----------
    scores, base : DataFrame
        ``field, cell, class, anomaly_score``, one row a nucleus.

    Returns
    -------
    dict of str to dict of str to float
        Of each class, ``roc_auc_gain`` and ``ap_gain`` with the ends of their 95 %
        intervals (``_low``, ``_high``): the percentile bootstrap's over fields, or over nuclei
        where there are fewer than five fields. Both methods see the same draws.
    """
    both = scores.merge(base[["field", "cell", "anomaly_score"]], on=["field", "cell"])
    weights = _draws(both["field"])
    found = {}
    for kind, among in compared(both).items():
        abnormal = (both["class"] != NORMAL).to_numpy()[among]
        pair = both.loc[among, ["anomaly_score_x", "anomaly_score_y"]].to_numpy().T
        found[kind] = {
            column: value
            for name, figure in _FIGURES.items()
            for column, value in _gain(name, figure, abnormal, pair, weights[:, among]).items()
        }
    return found


def _gain(
    name: str, figure: Callable, abnormal: np.ndarray, pair: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    differences = []
    for weight in weights:
        if weight[abnormal].any() and weight[~abnormal].any():
            mine, other = (figure(abnormal, score, sample_weight=weight) for score in pair)
            differences.append(mine - other)
    low, high = np.percentile(differences[1:], _ENDS)
    return {f"{name}_gain": differences[0], f"{name}_gain_low": low, f"{name}_gain_high": high}


def _draws(fields: pd.Series) -> np.ndarray:
    """How often each nucleus counts: once in the first row, then as often as it was drawn."""
    names, number = np.unique(fields, return_inverse=True)
    if len(names) < _FEWEST:
        names, number = fields.index, np.arange(len(fields))
    count = len(names)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _DRAWS)
    return np.vstack([np.ones(count), drawn])[:, number]
