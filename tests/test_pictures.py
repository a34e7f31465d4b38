"""Pictures for people: values worked out by hand on planes small enough to read."""

import numpy as np
import pytest
from PIL import Image

from cellsieve import pictures


def test_overview_is_the_mean_of_blocks_also_of_partial_ones():
    plane = np.arange(15, dtype=np.uint16).reshape(3, 5)
    small, scale = pictures.overview(plane, max_px=3)
    assert scale == 2
    # blocks: rows 0-1 and row 2; columns 0-1, 2-3 and 4
    assert small.tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]


def test_overview_of_a_plane_that_fits_is_the_plane():
    plane = np.arange(6, dtype=np.uint8).reshape(2, 3)
    small, scale = pictures.overview(plane, max_px=3)
    assert scale == 1
    assert np.array_equal(small, plane)


def test_overview_does_not_depend_on_tiles():
    plane = np.random.default_rng(0).integers(0, 60_000, (2100, 1300)).astype(np.uint16)
    small, scale = pictures.overview(plane, max_px=300)
    assert scale == 7
    whole = plane[:, : 1300 // 7 * 7].reshape(300, 7, -1, 7).mean(axis=(1, 3))
    assert np.allclose(small[:, : whole.shape[1]], whole, rtol=1e-5)


def test_sampled_labels_has_the_size_of_the_overview():
    labels = np.zeros((2051, 1030), np.uint32)
    labels[1000:1100, 500:600] = 7
    small, scale = pictures.overview(labels, max_px=500)
    sampled = pictures.sampled_labels(labels, scale)
    assert sampled.shape == small.shape
    assert set(np.unique(sampled)) == {0, 7}
    # a sampled label lies where the averaged picture shows it, to the border's mixed pixels
    assert np.all(small[sampled == 7] > 0)
    assert np.all(sampled[small == 7] == 7)


def test_contrast_limits_are_percentiles_of_the_chosen_pixels():
    plane = np.arange(101.0)[None] * np.ones((3, 1))
    assert pictures.contrast_limits(plane, 10, 90) == (10.0, 90.0)
    assert pictures.contrast_limits(plane, 0, 100, where=plane >= 50) == (50.0, 100.0)
    assert pictures.contrast_limits(plane, 0, 100, where=plane < 0) == (0.0, 100.0)


def test_contrast_limits_of_a_flat_plane_can_be_stretched():
    low, high = pictures.contrast_limits(np.full((1, 1), 5, np.uint16))
    assert low < high
    assert pictures.stretch(np.full((1, 1), 5, np.uint16), (low, high)).tolist() == [[0]]


def test_stretch_clips_and_rounds():
    image = np.array([0, 100, 150, 200, 65535], np.uint16)
    assert pictures.stretch(image, (100, 200)).tolist() == [0, 0, 128, 255, 255]
    # 255 · sqrt(1/4)
    assert pictures.stretch(np.array([25]), (0, 100), gamma=0.5).tolist() == [128]


def test_composite_adds_light_and_clips():
    first, second = np.full((1, 1), 255, np.uint8), np.full((1, 1), 128, np.uint8)
    mixed = pictures.composite([first, second], [(255, 0, 0), (255, 100, 0)])
    assert mixed.tolist() == [[[255, 50, 0]]]


def test_outline_is_the_inner_border_of_each_label():
    labels = np.zeros((5, 6), int)
    labels[1:4, 1:4], labels[1:4, 4] = 1, 2
    drawn = pictures.outline_overlay(np.zeros((5, 6), np.uint8), labels, colour=(9, 8, 7))
    outlined = (drawn == (9, 8, 7)).all(axis=2)
    inside = labels > 0
    inside[2, 2] = False  # the only pixel with its own label all around
    assert np.array_equal(outlined, inside)
    assert not drawn[~outlined].any()


@pytest.mark.parametrize("centre", [(0, 0), (4.2, 5.4), (9, 11), (-20, 5), (40, 40)])
def test_crop_is_zero_beyond_the_plane(centre):
    plane = np.arange(1, 121).reshape(10, 12)
    padded = np.pad(plane, 60)
    y, x = (round(c) + 60 - 3 for c in centre)
    assert np.array_equal(pictures.crop(plane, centre, 7), padded[y : y + 7, x : x + 7])


def test_enlarging_labels_repeats_pixels():
    assert pictures.enlarge(np.array([[1, 2]]), 2, smooth=False).tolist() == [[1, 1, 2, 2]] * 2
    assert pictures.enlarge(np.zeros((4, 5), np.uint8), 3).shape == (12, 15)


@pytest.mark.parametrize(
    ("width", "pixel_size_um", "length_um"), [(200, 0.25, 10), (200, 0.1, 5), (90, 1.0, 20)]
)
def test_scale_bar_has_the_length_it_claims(width, pixel_size_um, length_um):
    drawn, length = pictures.scale_bar(np.zeros((100, width, 3), np.uint8), pixel_size_um)
    assert length == pytest.approx(length_um)
    white = (drawn == 255).all(axis=2)
    assert white.any(axis=0).sum() == round(length_um / pixel_size_um)


def test_channels_keep_their_colours():
    assert pictures.channel_colour("Red") == pictures.channel_colour("red", 3)
    unknown = [pictures.channel_colour(f"probe_{n}", n) for n in range(4)]
    assert len(set(unknown)) == 4


def test_a_picture_is_saved_as_it_is(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        pictures.save_png(tmp_path / name, picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
