"""Exaggerated signs: what the classifiers must tell apart, whatever the units."""

import numpy as np
import pandas as pd
import pytest

from cellsieve.anomaly.signs import FOLDS
from cellsieve.anomaly.signs import fit_signs as fit_table

NEW = -1  # place of a nucleus that is not in the bank


@pytest.fixture(scope="module")
def normal():
    """Two features that go together, and one that goes alone."""
    rng = np.random.default_rng(3)
    size = rng.standard_normal(600)
    together = size + 0.15 * rng.standard_normal(600)
    return np.stack([size, together, rng.standard_normal(600)], 1)


def fit_signs(normal, causes=None):
    names = [f"f_{number}" for number in range(normal.shape[1])]
    return fit_table(pd.DataFrame(normal, columns=names), causes or {})


def odds(signs, rows):
    rows = np.atleast_2d(np.asarray(rows, float))
    return signs.log_odds(rows, np.full(len(rows), NEW))


def test_each_sign_alone_makes_a_nucleus_suspicious(normal):
    middle, *raised = odds(fit_signs(normal), [[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]])
    assert middle < 0
    assert min(raised) > 2


def test_what_goes_together_is_less_suspicious_than_one_of_it_alone(normal):
    both, one = odds(fit_signs(normal), [[2, 2, 0], [2, -1, 0]])
    # the Euclidean distance from the middle has it the other way round
    assert one > both + 0.3


def test_less_of_a_sign_is_no_evidence(normal):
    signs = fit_signs(normal)
    less, more = odds(signs, [[0, 0, -3], [0, 0, 3]])
    assert less < more
    assert odds(signs, [[0, 0, -2.5]]) == pytest.approx(odds(signs, [[0, 0, -50]]))


def test_nothing_far_away_is_normal(normal):
    rng = np.random.default_rng(0)
    far = np.abs(rng.standard_normal((400, 3)))
    far *= 10 / np.linalg.norm(far, axis=1, keepdims=True)
    signs = fit_signs(normal)
    limit = np.quantile(odds(signs, normal), 0.99)
    assert (odds(signs, far) > limit).mean() > 0.98


def test_units_do_not_matter(normal):
    factors, offsets = [1000.0, 0.01, 3.0], [5.0, -2.0, 1e4]
    there = fit_signs(normal * factors + offsets)
    moved = odds(there, normal[:50] * factors + offsets)
    assert moved == pytest.approx(odds(fit_signs(normal), normal[:50]), abs=1e-2)


def test_a_nucleus_of_the_bank_is_judged_by_the_classifier_that_has_not_seen_it(normal):
    """A lone outlier in the bank is taken for normal by those that learned from it."""
    bank = normal[:60].copy()
    bank[17] = [5, -5, 5]
    signs = fit_signs(bank)
    judged = [signs.log_odds(bank[17:18], np.array([place]))[0] for place in range(FOLDS)]
    assert np.argmax(judged) == 17 % FOLDS
    assert odds(signs, bank[17])[0] == pytest.approx(np.mean(judged))


def test_a_feature_that_never_varies_says_nothing(normal):
    constant = np.column_stack([normal, np.full(len(normal), 7.0)])
    found = odds(fit_signs(constant), constant[:50])
    assert np.isfinite(found).all()
    assert np.corrcoef(found, odds(fit_signs(normal), normal[:50]))[0, 1] > 0.95


def test_the_same_bank_gives_the_same_classifiers(normal):
    for one, other in zip(fit_signs(normal), fit_signs(normal.copy()), strict=True):
        assert np.array_equal(one, other)


def test_what_follows_from_a_cause_is_judged_together_with_it():
    """A sum that follows from either of two features, beside three features of their own."""
    rng = np.random.default_rng(5)
    parts = rng.standard_normal((600, 2))
    normal = np.column_stack([parts, parts.sum(1), rng.standard_normal((600, 3))])
    # two deviations more of one part, everything else below the middle
    grown = np.array([2.0, 0, 2, -1, -1, -1])
    alone, known = (
        odds(signs, grown)[0] - np.quantile(odds(signs, normal), 0.95)
        for signs in (fit_signs(normal), fit_signs(normal, {"f_0": ["f_2"], "f_1": ["f_2"]}))
    )
    assert known > alone + 0.5
