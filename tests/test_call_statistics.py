"""What calls rest on: false discovery rates, robust scores, intervals of rates."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from cellsieve.calling.anomaly_calls import Limits, call_anomalies, robust_z
from cellsieve.calling.intervals import wilson
from cellsieve.calling.multiple_testing import benjamini_hochberg, rarest_callable


def test_benjamini_hochberg_agrees_with_scipy():
    p = np.random.default_rng(0).uniform(size=200) ** 2
    p[10] = p[20]
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    with_gaps = np.insert(p, [0, 50], np.nan)
    np.testing.assert_allclose(
        benjamini_hochberg(with_gaps)[~np.isnan(with_gaps)], false_discovery_control(p)
    )


def test_rarest_callable_fraction_is_where_calls_begin():
    n, q, m = 99, 0.05, 1000  # least p 0.01; 0.01 · 1000 / 0.05 = 200 nuclei
    assert rarest_callable(n, q) == pytest.approx(0.2)
    for k, called in ((199, 0), (200, 200)):
        p = np.where(np.arange(m) < k, 1 / (n + 1), 0.9)
        assert (benjamini_hochberg(p) <= q + 1e-12).sum() == called


def test_robust_z_by_hand():
    # median 3, absolute deviations 2 1 0 1 97: their median is 1
    z = robust_z(np.array([1.0, 2, 3, 4, 100, np.nan]), np.array([1, 1, 1, 1, 1, 0], bool))
    np.testing.assert_allclose(z, np.array([-2, -1, 0, 1, 97, np.nan]) / 1.4826)
    assert np.isnan(robust_z(np.ones(5), np.ones(5, bool))).all()


def test_equal_scores_are_not_called():
    nuclei = pd.DataFrame({"anomaly_score": np.ones(30), "anomaly_p": np.nan})
    called = call_anomalies(nuclei, np.ones(30, bool), Limits("conformal", 0.05, 5.0))
    assert called.called_by is None
    assert set(called.call) == {"not_assessable"}


def test_wilson_against_its_defining_equation():
    # the ends solve |rate − x| = z √(x (1 − x) / n)
    for count, total in ((3, 40), (0, 12), (12, 12), (500, 100_000)):
        for end in wilson(count, total):
            side = abs(count / total - end)
            assert side == pytest.approx(
                1.959963984540054 * np.sqrt(end * (1 - end) / total), abs=1e-12
            )
    assert wilson(0, 0) is None
