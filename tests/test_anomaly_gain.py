"""The gain over the baseline, by hand and by drawing again."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cellsieve.benchmarks.anomaly_gain import gains


def nuclei(score, abnormal, fields):
    count = len(score)
    kind = np.where(abnormal, "abnormal", "normal")
    field = [f"f{number % fields}" for number in range(count)]
    columns = {"field": field, "cell": range(count), "class": kind, "anomaly_score": score}
    return pd.DataFrame(columns)


def test_the_gain_is_the_difference_and_order_does_not_matter():
    abnormal = np.array([0, 0, 1, 1], bool)
    mine, base = nuclei([1, 2, 3, 4.0], abnormal, 1), nuclei([1, 3, 2, 4.0], abnormal, 1)
    found = gains(mine, base.iloc[::-1])["abnormal"]
    assert found["roc_auc_gain"] == pytest.approx(1 - 3 / 4)
    assert found["ap_gain"] == pytest.approx(1 - (1 + 2 / 3) / 2)


@pytest.mark.parametrize("fields", [1, 30])
def test_the_interval_is_that_of_drawing_again(fields):
    rng = np.random.default_rng(1)
    abnormal = np.arange(600) % 7 == 0
    signal = rng.normal(size=600) + abnormal
    mine = nuclei(signal + 0.5 * rng.normal(size=600), abnormal, fields)
    base = nuclei(signal + 1.5 * rng.normal(size=600), abnormal, fields)
    found = gains(mine, base)["abnormal"]
    units = [np.flatnonzero(mine["field"] == f"f{n}") for n in range(fields)]
    units = units if fields > 1 else list(np.arange(600)[:, None])
    differences = []
    for _ in range(400):
        drawn = np.concatenate([units[n] for n in rng.integers(0, len(units), len(units))])
        both = (
            roc_auc_score(abnormal[drawn], t["anomaly_score"].iloc[drawn]) for t in (mine, base)
        )
        differences.append(next(both) - next(both))
    expected = np.percentile(differences, [2.5, 97.5])
    width = expected[1] - expected[0]
    ends = [found["roc_auc_gain_low"], found["roc_auc_gain_high"]]
    assert ends == pytest.approx(expected, abs=0.25 * width)
    assert found["roc_auc_gain_low"] > 0


def test_nothing_is_gained_over_itself():
    scores = nuclei(np.arange(20.0), np.arange(20) % 4 == 1, 6)
    found = gains(scores, scores)["abnormal"]
    assert set(found.values()) == {0}
