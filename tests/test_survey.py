"""The first look finds the size and sharpness of nuclei, and says when there are none."""

import numpy as np
import pytest
from scipy import ndimage
from synthetic import PEAK, draw_field, ellipse

from cellsieve import survey as module
from cellsieve.survey import Survey, noise_level
from cellsieve.tiles import sample_windows


def survey(image, size=1024) -> Survey:
    return module.survey(image, sample_windows(image, size))


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


@pytest.mark.parametrize("diameter", [20, 40, 80])
def test_out_of_focus_is_less_sharp(diameter):
    """By the blur in diameters, whatever the magnification; ever less, not only at first."""
    blurs = (0.03, 0.08, 0.15, 0.25)
    image = [discs(diameter, 6 * diameter, blur * diameter) for blur in blurs]
    sharpness = [survey(each).sharpness for each in image]
    assert sharpness[0] > 1.2 * sharpness[1] > 1.44 * sharpness[2] > 1.7 * sharpness[3]
    assert sharpness[0] > 4
    assert sharpness[3] < 3


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
    assert survey(image) == (None, None, None)


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (300, 300)])
def test_a_flat_field_has_no_nucleus(shape):
    assert survey(np.full(shape, 100, np.uint16)) == (None, None, None)


def test_noise_is_measured_under_nuclei():
    field = draw_field((400, 400), 30, 40, background=100)
    flat = np.random.default_rng(0).normal(0, 5, (400, 400))
    assert noise_level(flat) == pytest.approx(5, rel=0.02)
    sharp = np.where(field.labels > 0, PEAK, 0) + flat
    assert noise_level(sharp) == pytest.approx(5, rel=0.1)
    assert noise_level(np.full((5, 5), 3, np.uint8)) == pytest.approx(1 / np.sqrt(12))


def test_nuclei_in_the_middle_of_a_large_empty_field_are_seen():
    image = np.random.default_rng(0).poisson(200, (1000, 1000)).astype(np.uint16)
    image[510:750, 510:750] = draw_field((240, 240), 24, 25, touching=0).image.clip(0)
    assert survey(image, size=250).diameter == pytest.approx(24, rel=0.15)


def test_a_nucleus_larger_than_a_window_is_seen_from_afar():
    image = ndimage.gaussian_filter(ellipse((1600, 1600), (700, 750), (330, 300)) * PEAK, 2)
    image = np.random.default_rng(0).poisson(image + 200).astype(np.uint16)
    assert survey(image, size=266).diameter == pytest.approx(630, rel=0.15)
