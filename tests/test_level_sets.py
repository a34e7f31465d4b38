"""Shape measures against values worked out by hand, and the choice of regions."""

import numpy as np
import pytest
from scipy import ndimage
from synthetic import ellipse

from cellsieve.level_sets import edge_strength, select_regions, shapes

SHAPE = (220, 320)


def fill(mask):
    return shapes(mask.astype(np.int32)).fill[1]


@pytest.mark.parametrize(
    ("axes", "angle"), [((40, 40), 0), ((60, 30), 0), ((60, 30), 0.7), ((8, 6), 0.4)]
)
def test_an_ellipse_fills_itself(axes, angle):
    mask = ellipse(SHAPE, (100.3, 150.8), axes, angle)
    assert fill(mask) == pytest.approx(1, abs=0.01)
    assert shapes(mask.astype(int)).area[1] == mask.sum()


def test_two_touching_discs_fill_less():
    # centres r apart from the middle: variances r²/4 + r² along, r²/4 across;
    # the ellipse 4π √(5/4 · 1/4) r² = √5 π r², the discs 2 π r²
    pair = ellipse(SHAPE, (110, 90), (60, 60)) | ellipse(SHAPE, (110, 210), (60, 60))
    assert fill(pair) == pytest.approx(2 / np.sqrt(5), abs=0.005)


def test_a_rectangle_and_a_cross():
    # a square's variances are a²/12 each: a² / (4π a²/12) = 3/π
    square = np.zeros(SHAPE, bool)
    square[20:120, 20:120] = True
    assert fill(square) == pytest.approx(3 / np.pi, abs=1e-6)
    cross = np.zeros(SHAPE, bool)
    cross[100:110, 50:250] = cross[10:210, 145:155] = True
    assert fill(cross) < 0.25


def test_labels_may_have_gaps_and_single_pixels():
    labels = np.zeros((5, 5), int)
    labels[1, 1] = 3
    measured = shapes(labels)
    assert measured.area.tolist() == [0, 0, 0, 1]
    assert measured.fill[3] == pytest.approx(3 / np.pi)
    assert shapes(np.zeros((4, 4), int)).area.tolist() == [0]


def test_edge_strength_is_the_mean_on_the_inner_boundary():
    labels = np.zeros((7, 7), int)
    labels[2:5, 2:5] = 2
    gradient = np.arange(49.0).reshape(7, 7)
    ring = [16, 17, 18, 23, 25, 30, 31, 32]
    assert edge_strength(labels, gradient).tolist() == [0, 0, np.mean(ring)]


def test_each_branch_gives_one_region_bright_or_dim():
    """A dim disc, a bright one and a touching pair: no single threshold finds all four."""
    image = np.zeros(SHAPE)
    discs = {(60, 60): 100, (60, 250): 1000, (160, 100): 800, (160, 141): 900}
    for centre, peak in discs.items():
        image[ellipse(SHAPE, centre, (20, 20))] = peak
    smooth = ndimage.gaussian_filter(image, 2).astype(np.float32)
    gradient = ndimage.gaussian_gradient_magnitude(image, 2).astype(np.float32)
    levels = np.geomspace(10, 1000, 24)
    found = select_regions(smooth, gradient, levels, (300, 5000))
    labels = [found[centre] for centre in discs]
    assert sorted(labels) == [1, 2, 3, 4]
    assert found.max() == 4
    assert shapes(found).area[labels[0]] == pytest.approx(np.pi * 20**2, rel=0.1)
    assert not select_regions(smooth, gradient, levels, (6000, 9000)).any()


def test_nothing_above_the_levels():
    flat = np.zeros((30, 30), np.float32)
    assert not select_regions(flat, flat, np.array([1.0, 2.0]), (1, 100)).any()
