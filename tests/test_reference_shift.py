"""Fields unlike the reference: by hand, and what must not matter."""

import numpy as np
import pandas as pd
import pytest

from cellsieve.anomaly.reference_shift import FEWEST, scale_shift, stain_shift


def nuclei(count, seed=0, texture=0.0):
    """Two features of normal nuclei, and one that never varies."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame({"f_area": random.normal(1, 0.1, count)})
    table["f_coarse_texture"] = random.normal(5 + texture, 1, count)
    return table.assign(f_same=2.0, specks=random.uniform(size=count), id="x")


@pytest.mark.parametrize("ratio", [1 / 1.39, 1.0, 1.4])
def test_like_in_scale(ratio):
    assert scale_shift(ratio) == []


def test_unlike_in_scale():
    assert scale_shift(2.0) == ["unusual diameter: 2.00 times the reference's"]
    assert scale_shift(0.5) == ["unusual diameter: 0.50 times the reference's"]


def test_the_shift_by_hand():
    """Median 10, absolute deviations of median 5: 1.4826 · 5 is a robust standard deviation."""
    reference = pd.DataFrame({"f_fine_texture": np.repeat([0.0, 5, 10, 15, 20], 5)})
    for median, told in ((33.0, "+3.1"), (-13.0, "-3.1"), (32.0, None), (-12.0, None)):
        field = pd.DataFrame({"f_fine_texture": np.r_[np.full(15, median), np.full(14, 1e6)]})
        expected = f"unusual fine texture: {told} robust SD from the reference's median"
        assert stain_shift(field, reference) == ([expected] if told else [])


def test_normal_variation_is_like_and_the_worst_feature_is_named():
    reference = nuclei(400)
    assert stain_shift(nuclei(60, 1, texture=1.5), reference) == []
    assert stain_shift(nuclei(60, 1, texture=-4), reference)[0].startswith("unusual coarse texture")
    both = nuclei(60, 1, texture=4).assign(f_area=9.0)
    assert stain_shift(both, reference)[0].startswith("unusual area: +")


def test_a_few_abnormal_nuclei_are_no_shift():
    field = pd.concat([nuclei(80, 2), nuclei(30, 3, texture=50)])
    assert stain_shift(field, nuclei(400)) == []


def test_few_nuclei_and_features_without_spread_say_nothing():
    assert stain_shift(nuclei(FEWEST - 1, 1, texture=50), nuclei(400)) == []
    assert stain_shift(nuclei(60, texture=50), nuclei(FEWEST - 1)) == []
    flat = pd.DataFrame({"f_same": np.full(50, 2.0)})
    assert stain_shift(flat + 1, flat) == []
