"""Segmentation without seams, numbered in reading order."""

import numpy as np
import pytest
import zarr
from synthetic import draw_field

from cellsieve.benchmarks.metrics import iou_matrix, match
from cellsieve.resolution import Enlarged, Reduced
from cellsieve.segmentation import segment_field
from cellsieve.stitching import segment_tiled

SIDE, DIAMETER = 1500, 40


def segment(dapi, diameter, tile, offset=(0, 0)):
    found = segment_field(dapi, diameter, "watershed", zarr.group(), tile, offset)
    return found.lookup[found.labels[0 : dapi.shape[0], 0 : dapi.shape[1]]]


def first_pixels(labels):
    numbers, first = np.unique(labels, return_index=True)
    return numbers[numbers > 0], first[numbers > 0]


@pytest.fixture(scope="module")
def field():
    drawn = draw_field((SIDE, SIDE), DIAMETER, 220, seed=1, background=0, touching=0.6)
    return drawn._replace(image=np.maximum(drawn.image, 0))


@pytest.fixture(scope="module")
def nuclei(field):
    return segment(field.image, DIAMETER, 512)


def test_the_nuclei_that_were_drawn_are_found(field, nuclei):
    assert nuclei.max() > 150
    assert match(iou_matrix(field.labels, nuclei), 0.7).f1 > 0.9


def test_objects_are_numbered_by_their_first_pixel(nuclei):
    numbers, first = first_pixels(nuclei)
    assert numbers.tolist() == list(range(1, len(numbers) + 1))
    assert (np.diff(first) > 0).all()


def test_nuclei_do_not_depend_on_the_tiles(field, nuclei):
    """Half a tile further, and in one piece of another size: the same label image."""
    moved = segment(field.image, DIAMETER, 512, (256, 256))
    iou = iou_matrix(nuclei, moved)
    assert match(iou, 0.98) == (nuclei.max(), 0, 0)
    assert (nuclei != moved).mean() < 1e-4


@pytest.mark.parametrize("offset", [(0, 0), (50, 0), (17, 83)])
def test_an_exact_engine_gives_exactly_its_labels(offset):
    """Objects on tile corners, across whole tiles and at the border; none lost, none twice."""
    truth = draw_field((400, 430), 24, 90, seed=3, touching=0.7).labels

    def outline(region):
        piece = truth[region]
        return np.unique(piece, return_inverse=True)[1].reshape(piece.shape)

    labels = np.zeros(truth.shape, np.uint32)
    lookup = segment_tiled(outline, labels, tile=100, halo=40, offset=offset)
    numbers, first = first_pixels(truth)
    expected = np.zeros(truth.max() + 1, int)
    expected[numbers[np.argsort(first)]] = np.arange(1, len(numbers) + 1)
    assert np.array_equal(lookup[labels], expected[truth])


def test_nuclei_larger_than_a_tile():
    """Nine times enlarged they are ten tiles wide; the outlines follow the pixels that were."""
    small = draw_field((160, 160), DIAMETER, 9, seed=2, background=0)
    large, drawn = (np.kron(part, np.ones((9, 9), part.dtype)) for part in small)
    found = segment(np.maximum(large, 0), 9 * DIAMETER, 24)
    assert match(iou_matrix(drawn, found), 0.7).f1 > 0.9
    assert np.array_equal(found, segment(np.maximum(large, 0), 9 * DIAMETER, 1024))


def test_an_empty_field_has_no_nuclei():
    assert not segment(np.zeros((90, 60), np.uint16), DIAMETER, 64).any()
    assert not segment(np.zeros((90, 60), np.uint16), None, 64).any()
    assert segment(np.zeros((1, 1), np.uint16), None, 64).tolist() == [[0]]


@pytest.mark.parametrize("factor", [1, 3, 7])
def test_reduced_and_enlarged_planes(factor):
    plane = np.random.default_rng(0).integers(0, 1000, (700, 53)).astype(np.uint16)
    reduced = Reduced(plane, factor)
    rows, cols = (slice(2, 90), slice(1, 53 // factor))
    block = plane[rows.start * factor : rows.stop * factor, factor : cols.stop * factor]
    expected = block.reshape(88, factor, -1, factor).mean((1, 3))
    assert np.allclose(reduced[rows, cols], expected)
    assert reduced.shape == (-(-700 // factor), -(-53 // factor))
    whole = reduced[0 : reduced.shape[0], 0 : reduced.shape[1]]
    assert whole.shape == reduced.shape
    enlarged = Enlarged(whole, factor, plane.shape)
    back = np.kron(whole, np.ones((factor, factor)))[:700, :53]
    assert np.array_equal(enlarged[0:700, 0:53], back)
    assert np.array_equal(enlarged[512:1024, 5:60], back[512:, 5:])
