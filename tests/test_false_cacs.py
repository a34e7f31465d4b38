"""False CACs and what is said of a patient, by hand."""

import json

import pytest
from scipy.stats import poisson

from cellsieve.fish.false_cacs import ErrorRate, Rule, error_rate, expected, flag, upper_bound

RULE = Rule(4, 2, 1.5)


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_bound_is_the_mean_at_which_so_few_are_seen_in_one_of_twenty(count):
    assert poisson.cdf(count, upper_bound(count)) == pytest.approx(0.05)


def test_rate_is_the_references_where_it_is_large_enough(tmp_path):
    simulated = tmp_path / "false_cac.json"
    simulated.write_text(json.dumps({"cac": 1, "nuclei": 30_000, **RULE._asdict()}))
    fields = [{"cac": 1, "assessable_cac": 600}, {"cac": 0, "assessable_cac": 400}]
    assert error_rate(fields, simulated, RULE) == ErrorRate(1, 1000, "reference")
    assert error_rate(fields[:1], simulated, RULE) == ErrorRate(1, 30_000, "simulated")
    assert error_rate([], simulated, RULE).measured_on == "simulated"
    # fewer probes or more gains make no more false CACs; the opposite may
    stricter = error_rate([], simulated, Rule(3, 3, 1.5))
    assert stricter == ErrorRate(1, 30_000, "simulated")
    for laxer in (Rule(5, 2, 1.5), Rule(4, 1, 1.5), Rule(4, 2, 1.0)):
        assert error_rate([], simulated, laxer) is None
        assert error_rate(fields, simulated, laxer) == ErrorRate(1, 1000, "reference")


def test_without_a_rate_nobody_is_aberrant():
    assert set(expected(1000, None).values()) == {None}
    assert flag(50, 5000, None, 3, 1000) == {"cac_p": None, "flag": "inconclusive"}
    assert flag(2, 1000, None, 3, 1000)["flag"] == "none found"


def test_expected_by_hand():
    # 1 in 10,000; the upper bound of 1 is 4.744
    found = expected(2000, ErrorRate(1, 10_000, "simulated"))
    assert found["false_cac_expected"] == pytest.approx(0.2)
    assert found["false_cac_expected_high"] == pytest.approx(0.9488, abs=1e-4)


@pytest.mark.parametrize(
    ("cac", "assessable", "said"),
    [
        (3, 1000, "aberrant"),
        (2, 1000, "none found"),
        (2, 999, "inconclusive"),
        (0, 0, "inconclusive"),
        (3, 20_000, "inconclusive"),  # 2 false ones to expect: three are no wonder
        (9, 20_000, "aberrant"),
        (0, 20_000, "none found"),
    ],
)
def test_flags(cac, assessable, said):
    errors = ErrorRate(0, 29_957, "simulated")  # at most 1 in 10,000
    assert errors.high == pytest.approx(1e-4, rel=1e-4)
    assert flag(cac, assessable, errors, 3, 1000)["flag"] == said


def test_chance_is_the_tail_of_the_poisson_distribution():
    errors = ErrorRate(0, 29_957, "simulated")
    # mean 1: 1 − e⁻¹ (1 + 1 + ½)
    assert flag(3, 10_000, errors, 3, 1000)["cac_p"] == pytest.approx(0.0803, abs=1e-4)
