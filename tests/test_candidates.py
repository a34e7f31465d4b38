"""Candidates are measured as worked out by hand, and refused with every reason."""

import numpy as np
import pytest
from scipy import ndimage
from synthetic import ellipse

from cellsieve.pseudo_labelling.candidates import inner_point, judge_candidates, measure_candidates
from cellsieve.pseudo_labelling.run_length import decode
from cellsieve.pseudo_labelling.shape_limits import ShapeLimits

LIMITS = ShapeLimits()


def drawn():
    """A disc, a bar and a ring in a plane of several tiles; the bar crosses a tile's edge."""
    labels = np.zeros((300, 1400), np.uint32)
    labels[ellipse(labels.shape, (50, 60), (20, 20))] = 7
    labels[100:110, 1000:1060] = 3
    labels[ellipse(labels.shape, (200, 300), (30, 30))] = 70_000
    labels[ellipse(labels.shape, (200, 300), (20, 20))] = 0
    return labels


def test_sizes_and_forms():
    table = measure_candidates(drawn()).set_index("label")
    assert table.index.tolist() == [3, 7, 70_000]
    disc, bar, ring = table.loc[7], table.loc[3], table.loc[70_000]
    assert disc.area_px == pytest.approx(np.pi * 400, rel=0.01)
    assert (disc.length_px, disc.width_px) == pytest.approx((40, 40), rel=0.02)
    assert disc.roundness == pytest.approx(1, abs=0.05)
    assert disc.solidity > 0.95
    assert [disc.top_px, disc.left_px, disc.bottom_px, disc.right_px] == [30, 40, 71, 81]
    assert [bar.top_px, bar.left_px, bar.bottom_px, bar.right_px] == [100, 1000, 110, 1060]
    # a bar of 60 by 10: second moments (n² - 1) / 12, axes 4 times their roots
    assert (bar.length_px, bar.width_px) == pytest.approx(
        (4 * (3599 / 12) ** 0.5, 4 * (99 / 12) ** 0.5)
    )
    assert bar.solidity == 1
    # the estimate of the perimeter cuts its corners
    assert bar.roundness == pytest.approx(4 * np.pi * 600 / 140**2, rel=0.15)
    assert ring.solidity == pytest.approx(1 - 4 / 9, abs=0.02)


def test_masks_and_points():
    labels = drawn()
    for row in measure_candidates(labels).itertuples():
        box = (slice(row.top_px, row.bottom_px), slice(row.left_px, row.right_px))
        mask = decode(row.mask, (row.bottom_px - row.top_px, row.right_px - row.left_px))
        assert np.array_equal(mask, labels[box] == row.label)
        assert labels[round(row.y_px), round(row.x_px)] == row.label


def test_nothing_to_measure():
    assert measure_candidates(np.zeros((50, 60), np.uint32)).empty


def test_the_smallest_candidates_are_measured():
    labels = np.zeros((20, 20), np.uint32)
    labels[3, 4] = 1
    labels[10, 5:9] = 2
    labels[15, 15:17] = labels[16, 14:16] = 3
    table = measure_candidates(labels)
    assert table.area_px.tolist() == [1, 4, 4]
    assert np.isfinite(table[["length_px", "width_px", "roundness", "solidity"]]).all(axis=None)
    assert not judge_candidates(table, 20, LIMITS).kept.any()


def test_the_point_is_the_centroid_or_else_the_deepest_pixel():
    disc = ellipse((41, 41), (20, 20), (15, 15))
    assert inner_point(disc) == pytest.approx((20, 20))
    ring = disc & ~ellipse((41, 41), (20, 20), (8, 8))
    crescent = disc & ~ellipse((41, 41), (20, 28), (14, 14))
    for mask in (ring, crescent):
        y, x = inner_point(mask)
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        assert depth[int(y), int(x)] == depth.max()


def test_reasons_are_complete_and_in_words():
    candidate = {
        "area_px": 12,
        "length_px": 100.0,
        "width_px": 3.0,
        "roundness": 0.4,
        "solidity": 0.953,
    }
    assert LIMITS.faults(candidate, 20) == [
        "area 12 px below 0.2 typical",
        "length 100 px above 3 diameters",
        "width 3 px below 0.35 diameters",
        "roundness 0.4 below 0.55",
    ]
    fine = {"area_px": 314, "length_px": 21.0, "width_px": 19.0, "roundness": 1, "solidity": 0.96}
    assert LIMITS.faults(fine, 20) == []
    assert LIMITS._replace(solidity=(0.97, 1)).faults(fine, 20) == ["solidity 0.96 below 0.97"]


def test_a_bound_itself_is_allowed():
    limits = ShapeLimits(length=(1.0, 2.0))
    same = {"area_px": 100, "width_px": 10.0, "roundness": 0.9, "solidity": 0.95}
    kept = [not limits.faults({"length_px": px, **same}, 10) for px in (9.99, 10, 20, 20.01)]
    assert kept == [False, True, True, False]


def test_limits_are_relative_to_the_diameter():
    table = measure_candidates(drawn())
    judged = judge_candidates(table, 40, LIMITS).set_index("label")
    assert judged.kept.to_dict() == {3: False, 7: True, 70_000: False}
    assert judged.reason[7] == ""
    assert judged.reason[3].startswith("width 11.5 px below 0.35 diameters; roundness")
    assert judged.reason[70_000].endswith("; solidity 0.544 below 0.88")
    assert not judge_candidates(table, 200, LIMITS).kept.any()
