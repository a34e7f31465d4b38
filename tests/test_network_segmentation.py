"""Whole fields by a network: the same nuclei wherever tiles are cut, at any scale."""

import numpy as np
import pytest
import zarr
from synthetic import draw_field
from tiling import least_overlap, segment_in_tiles

from cellsieve.benchmarks.metrics import iou_matrix, match
from cellsieve.network_segmentation import View, segment_with_network
from cellsieve.planning.plan import SHIPPED
from cellsieve.rescaled import Rescaled
from cellsieve.segmenters import load_segmenter

SIDE, DIAMETER = 1400, 40


@pytest.fixture(scope="module")
def segmenter():
    return load_segmenter(SHIPPED / "votes.safetensors", "cpu")


@pytest.fixture(scope="module")
def field():
    drawn = draw_field((SIDE, SIDE), DIAMETER, 300, seed=1, background=0, touching=0.6)
    return drawn._replace(image=np.maximum(drawn.image, 0))


def segment(image, segmenter, diameter=DIAMETER, offset=(0, 0)):
    intensity = np.median(image[image > image.max() / 4])
    return segment_in_tiles(segmenter, image, diameter, offset, intensity)


@pytest.fixture(scope="module")
def nuclei(field, segmenter):
    segmenter.side = 512
    return segment(field.image, segmenter)


def test_the_nuclei_that_were_drawn_are_found(field, nuclei):
    assert match(iou_matrix(field.labels, nuclei), 0.7).f1 > 0.9


def test_nuclei_do_not_depend_on_the_tiles(field, nuclei, segmenter):
    """Half a tile further: no nucleus differs in more than 2 % of its pixels."""
    half = int(256 * DIAMETER / segmenter.diameter)
    moved = segment(field.image, segmenter, offset=(half, half))
    assert least_overlap(nuclei, moved) > 0.98


def test_numbers_follow_the_first_pixels(nuclei):
    numbers, first = np.unique(nuclei, return_index=True)
    assert numbers.tolist() == list(range(len(numbers)))
    assert (np.diff(first[1:]) > 0).all()


def test_nuclei_enlarged_are_the_same_nuclei(field, segmenter):
    small = field.image[:400, :400]
    large = np.kron(small, np.ones((3, 3)))
    found = segment(large, segmenter, 3 * DIAMETER)
    same = np.kron(segment(small, segmenter), np.ones((3, 3), int))
    assert match(iou_matrix(same, found), 0.85).f1 > 0.95


def test_a_field_without_nuclei_has_none(segmenter):
    found = segment_with_network(np.zeros((50, 60)), None, None, segmenter, zarr.group())
    assert found.lookup.tolist() == [0]
    assert not found.labels[0:50, 0:60].any()


@pytest.mark.parametrize("scale", [0.37, 1.0, 2.3])
def test_a_region_is_seen_with_its_surroundings(scale):
    """Pictures begin at multiples of the step; places point at the same light."""
    plane = np.add.outer(np.arange(200.0), 3 * np.arange(300.0))
    view = View(Rescaled(plane, scale), 2.0, 16)
    region = (slice(40, 90), slice(100, 190))
    picture, (rows, cols) = view.picture(region)
    assert picture.shape[0] % 16 == picture.shape[1] % 16 == 0
    assert (len(rows), len(cols)) == (50, 90)
    y, x = 20, 45
    near = picture[int(rows[y]), int(cols[x])]
    assert near == pytest.approx(plane[40 + y, 100 + x] / 2, abs=4 / scale)
