"""Which nuclei are whole, by hand."""

import numpy as np
import pandas as pd

from cellsieve.wholeness import judge_wholeness, looks_covered, looks_doubled, may_be_two


def nuclei(area, border=(), overlap=()):
    n = len(area)
    return pd.DataFrame(
        {
            "area_px": area,
            "touches_border": [i in border for i in range(n)],
            "overlapping": [i in overlap for i in range(n)],
        }
    )


def test_a_fragment_is_below_a_third_of_the_median_of_the_whole_ones():
    # of those that are whole otherwise the median of 300, 300, 60, 67 is 183.5: a third is 61.2
    found = judge_wholeness(nuclei([300, 300, 60, 67, 9000, 9000], border=[4], overlap=[5]))
    assert found.fragment.tolist() == [False, False, True, False, False, False]
    assert found.whole.tolist() == [True, True, False, True, False, False]


def test_nothing_is_a_fragment_where_nothing_is_whole():
    found = judge_wholeness(nuclei([5, 500], border=[0, 1]))
    assert not found.whole.any()
    assert not found.fragment.any()


def test_two_nuclei_have_much_dna():
    # the median of the first three is 100
    table = pd.DataFrame({"dapi_sum": [90, 100, 110, 131, 130]})
    whole = np.array([True, True, True, False, False])
    assert looks_doubled(table, whole).tolist() == [False, False, False, True, False]
    assert not looks_doubled(table[:3], np.zeros(3, bool)).any()


def test_a_covered_nucleus_has_a_part_far_brighter_than_is_usual_on_the_slide():
    table = pd.DataFrame({"bright_part": [1.2, 1.25, 1.3, 1.56, 1.57]})
    whole = np.array([True, True, True, False, False])
    # the median of the first three is 1.25, a quarter more is 1.5625
    assert looks_covered(table, whole).tolist() == [False, False, False, False, True]
    assert not looks_covered(table, np.zeros(5, bool)).any()


def test_a_dent_or_a_rather_bright_part_may_be_two_nuclei():
    # of the first three the median brightest part is 1.25, a fifth more is 1.5; the median
    # dents are 0.03 of the hull, 1.9 times that is 0.057
    table = pd.DataFrame(
        {"solidity": [0.98, 0.97, 0.945, 0.942, 0.97], "bright_part": [1.2, 1.25, 1.3, 1.2, 1.51]}
    )
    whole = np.array([True, True, True, False, False])
    assert may_be_two(table, whole).tolist() == [False, False, False, True, True]
    assert not may_be_two(table, np.zeros(5, bool)).any()
