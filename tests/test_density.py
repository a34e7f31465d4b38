"""Maps of where the suspicious nuclei lie: shares by hand, one scale, nothing without nuclei."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellsieve.report.density import FEWEST, REACH, distribution, share_nearby
from cellsieve.report.fields import FieldSection
from cellsieve.report.inputs import Cells

SHAPE, DIAMETER = (900, 1200), 40.0


def scatter(count, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).uniform(0, shape, (count, 2)).astype(np.float32)


def test_equals_the_weighted_share_summed_nucleus_by_nucleus():
    places = scatter(250)
    counted = places[::9]
    shares = share_nearby(counted, places, SHAPE, DIAMETER)
    middles = [(np.arange(n) + 0.5) * side / n for n, side in zip(shares.shape, SHAPE, strict=True)]
    at = np.stack(np.meshgrid(*middles, indexing="ij"), -1)[..., None, :]
    kernel = [
        np.exp(-0.5 * ((at - p) ** 2).sum(-1) / (REACH * DIAMETER) ** 2) for p in (counted, places)
    ]
    expected = kernel[0].sum(-1) / kernel[1].sum(-1)
    enough = kernel[1].sum(-1)
    known = np.isfinite(shares)
    assert known[enough > 1.1 * FEWEST].all()
    assert not known[enough < 0.9 * FEWEST].any()
    assert shares[known] == pytest.approx(expected[known], abs=0.02)


def test_all_and_none():
    places = scatter(300, 1)
    for counted, share in ((places, 1.0), (places[:0], 0.0)):
        shares = share_nearby(counted, places, SHAPE, DIAMETER)
        assert np.nanmin(shares) == pytest.approx(share)
        assert np.nanmax(shares) == pytest.approx(share)


def test_lonely_nuclei_make_no_share():
    places = np.array([[100.0, 100.0], [800.0, 1100.0]])
    assert np.isnan(share_nearby(places, places, SHAPE, DIAMETER)).all()


@pytest.mark.parametrize("shape", [(1, 1), (40, 9000), (60_000, 50_000)])
def test_a_field_of_any_size_is_mapped_small(shape):
    places = scatter(400, 2, shape)
    shares = share_nearby(places[:7], places, shape, DIAMETER)
    assert min(shares.shape) >= 1
    assert max(shares.shape) <= 360
    assert ((shares >= 0) & (shares <= 1 + 1e-9) | np.isnan(shares)).all()


def cells(assessable, suspicious, ranked=()):
    table = pd.DataFrame(ranked, columns=["field", "y_px", "x_px"])
    return Cells(pd.DataFrame(), table, "anomaly_score", table, {}, assessable, suspicious)


def section(name, slide="s", overlay="data:"):
    return FieldSection(name, slide, "", {"shape": SHAPE, "diameter_px": DIAMETER}, overlay)


def brightness(mapped):
    """Grey values of a picture, from its data URI."""
    data = base64.b64decode(mapped.picture.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)


def test_all_maps_have_one_scale():
    places = scatter(300, 3)
    dense = places[places[:, 1] < 400]
    found = distribution(
        [section("few", "s1"), section("many", "s2"), section("none", "s2")],
        cells(dict.fromkeys(("few", "many", "none"), places), {"few": dense[:1], "many": dense}),
    )
    assert list(found.slides) == ["s1", "s2"]
    few, many, none = found.slides["s1"] + found.slides["s2"]
    assert (few.counted, many.counted, none.counted) == (1, len(dense), 0)
    assert few.assessable == 300
    assert found.called
    assert found.top == pytest.approx(1, abs=0.01)
    light = [np.median(brightness(m)[100:-100, 20:80]) for m in (few, many, none)]
    assert light[1] > 150
    assert max(light[0], light[2]) < 60


def test_without_a_suspicious_nucleus_those_of_the_gallery_are_mapped():
    places = scatter(300, 4)
    ranked = [("a", *places[0]), ("a", *places[1])]
    found = distribution([section("a")], cells({"a": places}, {}, ranked))
    assert not found.called
    assert found.slides["s"][0].counted == 2
    assert found.top > 0


def test_only_fields_with_pictures_and_assessable_nuclei_are_mapped():
    places = scatter(50, 5)
    found = distribution(
        [section("shown"), section("light", overlay=""), section("empty")],
        cells({"shown": places, "light": places}, {"light": places[:3]}),
    )
    assert [m.field for m in found.slides["s"]] == ["shown"]
    assert found.top == 1.0
    assert distribution([], cells({}, {})).slides == {}
