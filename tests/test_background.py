"""The background under nuclei is found without their light."""

import numpy as np
import pytest
from synthetic import PEAK, draw_field

from cellsieve.background import estimate_background

SIDE, DIAMETER = 900, 24
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
TILTED = 300 + 120 * X + 70 * Y
VIGNETTE = 400 * (1 - 0.3 * (X**2 + Y**2))
EVERYWHERE = (slice(0, SIDE), slice(0, SIDE))


def error_under_nuclei(background, dtype, count):
    """Estimated less true background, in counts, where there are nuclei."""
    field = draw_field((SIDE, SIDE), DIAMETER, count, seed=1, background=0, touching=0.6)
    image = field.image + background
    image = np.rint(image).astype(dtype) if np.dtype(dtype).kind == "u" else image.astype(dtype)
    estimate = estimate_background(image, DIAMETER).at(EVERYWHERE)
    return (estimate - background)[field.labels > 0]


@pytest.mark.parametrize("count", [0, 120, 600])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_tilted_plane_is_found_to_two_counts(count, dtype):
    if count:
        assert np.abs(error_under_nuclei(TILTED, dtype, count)).max() < 2.5
    else:
        estimate = estimate_background(np.rint(TILTED).astype(dtype), DIAMETER).at(EVERYWHERE)
        assert np.abs(estimate - TILTED).max() < 2


@pytest.mark.parametrize("count", [120, 600])
def test_a_vignette_is_found_to_a_hundredth_of_a_nucleus(count):
    error = np.abs(error_under_nuclei(VIGNETTE, np.uint16, count))
    assert np.median(error) < 2
    assert error.max() < 0.01 * PEAK


def test_a_crowd_that_fills_a_cell_of_the_mesh_adds_nothing():
    image = np.full((400, 400), 100, np.uint16)
    image[160:240, 160:240] = 1000
    assert np.abs(estimate_background(image, 24).at((slice(0, 400), slice(0, 400))) - 100).max() < 1


def test_regions_fit_together():
    found = estimate_background(TILTED + VIGNETTE, DIAMETER)
    whole = found.at(EVERYWHERE)
    part = found.at((slice(100, 350), slice(600, 900)))
    assert part.dtype == np.float32
    assert np.array_equal(part, whole[100:350, 600:900])


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (20, 20)])
def test_small_and_narrow_fields(shape):
    flat = np.full(shape, 7, np.uint8)
    estimate = estimate_background(flat, 24).at(tuple(slice(0, n) for n in shape))
    assert np.allclose(estimate, 7)
