"""Candidate spots: places and sizes that were drawn by hand, whatever the tiles."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from cellsieve.errors import BadFieldError
from cellsieve.fish.bleed_through import bleed_shares, unmix
from cellsieve.fish.field_signals import blob_radius, field_signals
from cellsieve.fish.spot_threshold import fit_mixture, signal_threshold
from cellsieve.fish.spots import find_spots
from cellsieve.tiles import richest_tiles

RADIUS = 2.0  # px: sigma √2
SIGMA = RADIUS / np.sqrt(2)


def draw(shape, spots, sigma=SIGMA, noise=3.0, level=100.0, seed=0):
    """A plane with Gaussian spots (y, x, height) on a noisy level."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = np.random.default_rng(seed).normal(level, noise, shape)
    for cy, cx, height in spots:
        plane += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return plane


def square_nuclei(shape=(300, 300), side=40, pitch=50):
    labels = np.zeros(shape, np.uint32)
    corners = [
        (y, x) for y in range(5, shape[0] - side, pitch) for x in range(5, shape[1] - side, pitch)
    ]
    for label, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = label
    return labels, np.array(corners)


def test_places_are_found_between_pixels():
    spots = [(30.3, 40.8, 200), (70.0, 20.5, 150), (55.75, 80.25, 90)]
    plane = draw((100, 110), spots)
    found = find_spots(plane, np.ones(plane.shape, int), RADIUS, 8.0)
    np.testing.assert_allclose(
        found[["y_px", "x_px"]], [(30.3, 40.8), (55.75, 80.25), (70.0, 20.5)], atol=0.1
    )
    assert (found["cell"] == 1).all()


@pytest.mark.parametrize("sigma", [1.0, 1.4, 2.5])
def test_size_is_that_of_the_blob(sigma):
    plane = draw((80, 80), [(40, 40, 500)], sigma=sigma, noise=1.0)
    found = find_spots(plane, np.ones(plane.shape, int), RADIUS, 30.0)
    assert found["size_px"].tolist() == pytest.approx([2 * np.sqrt(2) * sigma], rel=0.12)


@pytest.mark.parametrize("tile", [37, 100, 4096])
def test_result_does_not_depend_on_the_tiles(tile):
    labels, corners = square_nuclei()
    plane = draw(labels.shape, [(y + 9.4, x + 20.1, 60) for y, x in corners])
    plane = plane.astype(np.uint16)
    whole = find_spots(plane, labels, RADIUS, 3.0)
    pd.testing.assert_frame_equal(find_spots(plane, labels, RADIUS, 3.0, tile=tile), whole)


def test_signal_on_the_rim_belongs_to_its_nucleus():
    labels = np.zeros((60, 60), int)
    labels[20:40, 20:40] = 7
    plane = draw(labels.shape, [(30, 41, 200), (30, 50, 200)], noise=1)
    found = find_spots(plane, labels, RADIUS, 20.0)
    assert found["cell"].tolist() == [7, 0]  # 2 and 11 px beside it; a signal's radius is 2


@pytest.mark.parametrize("tile", [17, 100])
def test_spot_near_another_nucleus_is_shared(tile):
    labels = np.zeros((60, 100), np.uint32)
    labels[10:50, 5:50], labels[10:50, 50:95] = 3, 9
    plane = draw(labels.shape, [(30, 20, 200), (30, 44, 200), (30, 56, 200), (5, 50, 200)], noise=1)
    found = find_spots(plane, labels, RADIUS, 20.0, beside_px=6, tile=tile)
    found = found.sort_values("x_px")
    # columns 50 and 49 are 6 and 7 px away; the last spot lies in no nucleus
    assert found["cell"].tolist() == [3, 3, 0, 9]
    assert found["shared"].tolist() == [False, True, False, False]


def test_contrast_is_in_standard_deviations_of_the_noise_of_the_nucleus():
    # the same spot in a quiet and in a nucleus four times as noisy
    labels = np.zeros((100, 200), int)
    labels[:, :100], labels[:, 100:] = 1, 2
    plane = draw(labels.shape, [], noise=0)
    rng = np.random.default_rng(1)
    plane += rng.normal(0, np.where(labels == 1, 5.0, 20.0))
    plane += draw(labels.shape, [(50, 50, 400), (50, 150, 400)], noise=0, level=0)
    found = find_spots(plane, labels, RADIUS, 10.0).set_index("cell")["contrast"]
    assert found[1] / found[2] == pytest.approx(4, rel=0.15)


def test_numbers_of_labels_do_not_matter_nor_cost_memory():
    labels = np.ones((60, 120), np.uint32)
    labels[:, 60:] = 2
    plane = draw(labels.shape, [(30, 30, 200), (30, 90, 200)])
    expected = find_spots(plane, labels, RADIUS)
    tracemalloc.start()
    found = find_spots(plane, np.where(labels == 2, 4_000_000, 1).astype(np.uint32), RADIUS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(found["cell"]) == {1, 4_000_000}
    renumbered = found.assign(cell=found["cell"].replace(4_000_000, 2))
    pd.testing.assert_frame_equal(renumbered, expected)
    assert peak < 20e6


def test_pure_noise_seldom_exceeds_five_standard_deviations():
    plane = draw((500, 500), [])
    found = find_spots(plane, np.ones(plane.shape, int), RADIUS, 3.0)
    assert len(found) > 100
    assert (found["contrast"] > 5).sum() <= 2


def test_gain_and_offset_of_the_camera_do_not_matter():
    labels, corners = square_nuclei()
    plane = draw(labels.shape, [(y + 9.4, x + 20.1, 60) for y, x in corners])
    one = find_spots(plane, labels, RADIUS, 6.0)
    other = find_spots(plane * 10 + 3000, labels, RADIUS, 6.0)
    np.testing.assert_allclose(10 * one.pop("height"), other.pop("height"), rtol=1e-2)
    numbers = ["y_px", "x_px", "size_px", "contrast"]
    np.testing.assert_allclose(one[numbers], other[numbers], rtol=1e-2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flat_plane_has_no_spots(dtype):
    plane = np.full((60, 60), 7, dtype)
    assert find_spots(plane, np.ones((60, 60), int), RADIUS).empty


def test_dark_8_bit_plane_has_finite_contrast():
    plane = np.zeros((80, 80), np.uint8)
    plane[40, 40] = plane[40, 41] = 30
    found = find_spots(plane, np.ones(plane.shape, int), RADIUS)
    assert np.isfinite(found["contrast"]).all()
    assert found.loc[found["contrast"].idxmax(), "y_px"] == pytest.approx(40, abs=0.2)


def test_values_that_are_not_finite_are_refused():
    plane = draw((60, 60), [])
    plane[5, 5] = np.nan
    with pytest.raises(BadFieldError, match="not finite"):
        find_spots(plane, np.ones(plane.shape, int), RADIUS)


def test_radius_is_estimated_within_its_bounds():
    assert blob_radius(pd.Series([5.0] * 20), 60) == 2.5
    assert blob_radius(pd.Series([5.0] * 3), 60) == pytest.approx(1.8)  # too few: 0.03 diameters
    assert blob_radius(pd.Series([90.0] * 20), 60) == pytest.approx(4.8)
    assert blob_radius(pd.Series([0.0] * 20), 60) == 1.5


def test_bleed_through_is_estimated_and_removed():
    labels, corners = square_nuclei()
    green = draw(labels.shape, [(y + 12, x + 25, 800) for y, x in corners], seed=1)
    gold = draw(labels.shape, [(y + 30, x + 8, 300) for y, x in corners], seed=2)
    planes = {"green": green, "gold": gold + 0.1 * green}
    signals, notes = field_signals(planes, labels, 40.0)
    assert any("10." in n or "9." in n for n in notes if "green is seen in gold" in n)
    strong = signals[(signals["probe"] == "gold") & (signals["contrast"] > 6)]
    ghosts = [
        np.hypot(strong["y_px"] - y - 12, strong["x_px"] - x - 25).min() < 2 for y, x in corners
    ]
    assert sum(ghosts) <= 2
    assert strong.groupby("cell").size().reindex(range(1, len(corners) + 1)).ge(1).all()


def test_probes_that_lie_side_by_side_are_not_taken_for_bleed_through():
    labels, corners = square_nuclei()
    places = [(y + 12, x + 25, 800) for y, x in corners]
    planes = {"a": draw(labels.shape, places, seed=1), "b": draw(labels.shape, places, seed=2)}
    spots = {p: pd.DataFrame(places, columns=["y_px", "x_px", "_"]).assign(tile=0) for p in planes}
    shares = bleed_shares(planes, spots, richest_tiles(labels), RADIUS)
    assert shares == {}
    assert unmix(planes, shares) == planes


def test_field_without_nuclei_has_an_empty_typed_table():
    plane = draw((60, 60), [])
    signals, notes = field_signals({"aqua": plane}, np.zeros((60, 60), np.uint32), None)
    assert signals.empty
    assert str(signals["probe"].dtype) == "string"
    assert notes == ["no nuclei: no signals were looked for"]


def test_probe_with_nan_costs_only_itself():
    labels, corners = square_nuclei()
    good = draw(labels.shape, [(y + 12, x + 25, 300) for y, x in corners])
    bad = good.copy()
    bad[0, 0] = np.inf
    signals, notes = field_signals({"aqua": bad, "gold": good}, labels, 40.0)
    assert set(signals["probe"]) == {"gold"}
    assert "aqua: it holds values that are not finite" in notes


def test_threshold_lies_between_noise_and_signal():
    rng = np.random.default_rng(0)
    noise = 3 * np.exp(rng.exponential(0.2, 2000))
    signal = 30 * np.exp(rng.normal(0, 0.3, 400))
    threshold = signal_threshold(np.concatenate([noise, signal]), 3.0)
    assert 8 < threshold < 20
    assert (noise > threshold).sum() <= 5
    assert (signal < threshold).sum() <= 5


def test_mixture_recovers_what_it_was_drawn_from():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.exponential(0.3, 7000), rng.normal(2.5, 0.25, 3000)])
    mixture = fit_mixture(np.maximum(x, 0))
    assert mixture == pytest.approx((0.3, 0.3, 2.5, 0.25), abs=0.02)


def test_too_few_candidates_give_no_threshold():
    assert signal_threshold(np.full(19, 10.0), 3.0) is None


class Damaged:
    """A plane whose lower half cannot be decoded."""

    shape, dtype = (64, 64), np.dtype(np.uint16)

    def __getitem__(self, region):
        if region[0].stop > 40:
            raise BadFieldError("cut short")
        return np.zeros((64, 64), np.uint16)[region]


def test_what_cannot_be_read_ahead_is_said_when_its_turn_comes():
    with pytest.raises(BadFieldError, match="cut short"):
        find_spots(Damaged(), np.zeros((64, 64), np.int64), 2.0, tile=16)
