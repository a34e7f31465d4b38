"""The first look finds the size and sharpness of nuclei, and says when there are none."""

import numpy as np
import pytest
from scipy import ndimage
from synthetic import PEAK, draw_field

from cellsieve.survey import noise_level, survey


def discs(diameter, side, blur=1.0, seed=0):
    """Sparse discs of one diameter on a background, with camera noise."""
    rng = np.random.default_rng(seed)
    pitch = int(1.8 * diameter) + 6
    y, x = np.mgrid[:side, :side]
    image = (np.hypot(y % pitch - pitch / 2, x % pitch - pitch / 2) < diameter / 2) * PEAK
    image = ndimage.gaussian_filter(image, blur) + 200
    return np.rint(rng.normal(image, np.sqrt(image) / 2)).astype(np.uint16)


@pytest.mark.parametrize(
    ("diameter", "side"), [(10, 300), (20, 300), (45, 400), (100, 600), (200, 1100)]
)
def test_the_diameter_of_discs_is_found(diameter, side):
    assert survey(discs(diameter, side)).diameter == pytest.approx(diameter, rel=0.15)


def test_the_diameter_does_not_depend_on_brightness_or_offset():
    image = discs(30, 400).astype(float)
    first = survey(image).diameter
    assert survey(3 * image).diameter == pytest.approx(first, rel=0.02)
    assert survey(image + 5000).diameter == pytest.approx(first, rel=0.02)
    assert survey(image.astype(np.uint16)).diameter == pytest.approx(first, rel=0.02)


def test_out_of_focus_is_less_sharp():
    sharpness = [survey(discs(40, 400, blur)).sharpness for blur in (1, 3, 6)]
    assert sharpness[0] > 1.5 * sharpness[1] > 1.5 * sharpness[2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["camera", "8 bit", "uneven", "float"])
def test_noise_is_no_nucleus(kind, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:500, :500]
    image = {
        "camera": rng.poisson(200, (500, 500)).astype(np.uint16),
        "8 bit": rng.normal(12, 1.5, (500, 500)).clip(0).astype(np.uint8),
        "uneven": rng.normal(300 + 0.2 * x + 0.1 * y, 15).astype(np.uint16),
        "float": rng.normal(0, 1, (500, 500)).astype(np.float32),
    }[kind]
    assert survey(image) == (None, None)


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (300, 300)])
def test_a_flat_field_has_no_nucleus(shape):
    assert survey(np.full(shape, 100, np.uint16)) == (None, None)


def test_noise_is_measured_under_nuclei():
    field = draw_field((400, 400), 30, 40, background=100)
    flat = np.random.default_rng(0).normal(0, 5, (400, 400))
    assert noise_level(flat) == pytest.approx(5, rel=0.02)
    sharp = np.where(field.labels > 0, PEAK, 0) + flat
    assert noise_level(sharp) == pytest.approx(5, rel=0.1)
    assert noise_level(np.full((5, 5), 3, np.uint8)) == pytest.approx(1 / np.sqrt(12))
