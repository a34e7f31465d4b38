"""A plane at another scale: known values, and the same bits wherever it is cut."""

import numpy as np
import pytest
from PIL import Image

from cellsieve.rescaled import Rescaled

PLANE = np.random.default_rng(0).gamma(2, 100, (67, 90)).astype(np.float32)


def whole(plane, scale):
    view = Rescaled(plane, scale)
    return view[0 : view.shape[0], 0 : view.shape[1]]


def test_at_scale_one_nothing_changes():
    assert np.array_equal(whole(PLANE, 1.0), PLANE)


def test_values_by_hand():
    line = np.array([[0.0, 4.0]])
    assert whole(line, 2.0)[0] == pytest.approx([0, 1, 3, 4])
    # two pixels to one: distances of 0.5 and 1.5, with a reach of 2, weigh 0.75 and 0.25;
    # at the border those that there are count
    line = np.array([[0.0, 0.0, 8.0, 8.0, 0.0, 0.0]])
    assert whole(line, 0.5)[0] == pytest.approx([8 * 0.25 / 1.75, 6, 8 * 0.25 / 1.75])


@pytest.mark.parametrize("scale", [0.5, 2.0, 1 / 3])
def test_it_is_the_antialiased_bilinear_of_pillow(scale):
    plane = PLANE[:66]
    ours = whole(plane, scale)
    size = (ours.shape[1], ours.shape[0])
    theirs = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("scale", [0.123, 0.73, 1.0, 1.37])
def test_a_pixel_has_the_same_bits_wherever_it_is_sliced(scale):
    view = Rescaled(PLANE, scale)
    all_of_it = whole(PLANE, scale)
    height, width = view.shape
    for top, left in [(0, 0), (1, 3), (height // 2, width // 3), (height - 1, width - 1)]:
        region = (slice(top, min(top + 17, height)), slice(left, min(left + 23, width)))
        assert np.array_equal(view[region], all_of_it[region])


def test_strips_do_not_show(monkeypatch):
    expected = whole(PLANE, 0.4)
    monkeypatch.setattr("cellsieve.rescaled._STRIP", 10)
    assert np.array_equal(whole(PLANE, 0.4), expected)


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7])
def test_a_flat_plane_stays_flat_up_to_its_border(scale):
    assert whole(np.full((31, 44), 7, np.uint16), scale) == pytest.approx(7.0, rel=1e-6)


def test_a_disc_keeps_its_place():
    y, x = np.mgrid[:120, :100]
    disc = ((y + 0.5 - 40) ** 2 + (x + 0.5 - 61) ** 2 < 20**2).astype(float)
    for scale in (0.37, 1.9):
        seen = whole(disc, scale)
        rows, cols = np.mgrid[: seen.shape[0], : seen.shape[1]] + 0.5
        assert (seen * rows).sum() / seen.sum() / scale == pytest.approx(40, abs=0.05)
        assert (seen * cols).sum() / seen.sum() / scale == pytest.approx(61, abs=0.05)
