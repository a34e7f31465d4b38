"""Planes that lie beside the nuclei, measured and laid back."""

import numpy as np
import pytest
from scipy import ndimage
from synthetic import draw_field

from cellsieve.fish.channel_shift import Shifted, lay_on_nuclei
from cellsieve.fish.field_signals import field_signals
from cellsieve.simulation.render import render
from cellsieve.simulation.scene import Field
from cellsieve.simulation.slide import draw_slide

PROBE = 1  # channel of the simulated field


@pytest.fixture(scope="module")
def field():
    """Return planes, labels and diameter of a simulated field."""
    planes, labels, _ = render(Field(700, 700, 50, 0, 5, 0.325, 13.7), draw_slide(5))
    area = np.median(np.bincount(labels.ravel())[1:])
    return planes, labels, float(np.sqrt(area * 4 / np.pi))


def lay(plane, labels, diameter):
    """Return how far a plane was moved, and what is said of it."""
    planes, notes = lay_on_nuclei({"red": plane}, labels, diameter)
    return getattr(planes["red"], "shift", (0, 0)), notes


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (-1, 3), (0, -5)])
def test_the_shift_is_found(field, shift):
    planes, labels, diameter = field
    assert lay(np.roll(planes[PROBE], shift, (0, 1)), labels, diameter)[0] == shift


def test_the_shift_of_large_nuclei_on_a_bright_camera_offset_is_found():
    """Blocks of three pixels do not divide the field."""
    drawn = draw_field((1024, 1024), 52, 120, 3, touching=0, background=0)
    noise = np.random.default_rng(0).normal(0, 5, drawn.labels.shape)
    plane = 1000 + 60 * ndimage.gaussian_filter((drawn.labels > 0) * 1.0, 2) + noise
    assert lay(np.roll(plane, (3, 0), (0, 1)), drawn.labels, 52.0)[0] == (3, 0)


def test_a_large_shift_is_left_and_said(field):
    planes, labels, diameter = field
    moved, notes = lay(np.roll(planes[PROBE], (14, 0), (0, 1)), labels, diameter)
    assert moved == (0, 0)
    assert notes[0].startswith("red: may lie beside the nuclei (down, right: 14.")


def test_parts_that_disagree_are_left_and_said():
    drawn = draw_field((1024, 2048), 40, 300, 4, touching=0, background=0)
    haze = 100 + 60 * ndimage.gaussian_filter((drawn.labels > 0) * 1.0, 2)
    haze += np.random.default_rng(0).normal(0, 3, haze.shape)
    torn = np.hstack([haze[:, :1024], np.roll(haze[:, 1024:], (6, 0), (0, 1))])
    moved, notes = lay(torn, drawn.labels, 40.0)
    assert moved == (0, 0)
    assert "may lie beside the nuclei" in notes[0]


def test_nothing_is_found_where_there_is_no_haze(field):
    planes, labels, diameter = field
    noise = np.random.default_rng(0).normal(100, 5, labels.shape)
    holes = np.where(noise > 110, np.nan, planes[PROBE])
    for plane in (noise, holes, np.full(labels.shape, 7)):
        assert lay(plane, labels, diameter) == ((0, 0), [])
    assert lay_on_nuclei({"red": noise}, labels, None) == ({"red": noise}, [])
    assert lay(noise, np.zeros_like(labels), diameter) == ((0, 0), [])


def test_a_plane_laid_back_is_the_plane_and_repeats_its_edge():
    plane = np.random.default_rng(1).integers(0, 99, (40, 50))
    laid = Shifted(np.roll(plane, (3, -2), (0, 1)), (3, -2))
    assert (laid[:37, 2:] == plane[:37, 2:]).all()
    assert (laid[37:40, 10:20] == laid[36:37, 10:20]).all()
    assert (laid[5:9, 0:2] == laid[5:9, 2:3]).all()
    assert laid[0:40, 0:50].shape == laid.shape == plane.shape


def test_a_shifted_probe_has_the_same_signals(field):
    planes, labels, diameter = field
    straight = {"red": planes[PROBE], "green": planes[PROBE + 1]}
    moved = {**straight, "red": np.roll(planes[PROBE], (2, -2), (0, 1))}
    expected, _ = field_signals(straight, labels, diameter)
    laid, notes = lay_on_nuclei(moved, labels, diameter)
    found, _ = field_signals(laid, labels, diameter)
    assert "red: lay 2 px down and -2 px right of the nuclei" in notes
    strong = [table[(table["contrast"] > 10) & (table["cell"] > 0)] for table in (expected, found)]
    inner = [t[t["y_px"].between(30, 670) & t["x_px"].between(30, 670)] for t in strong]
    columns = ["probe", "cell", "y_px", "x_px"]
    first, second = (t.sort_values(columns)[columns].reset_index(drop=True) for t in inner)
    assert (first[["probe", "cell"]] == second[["probe", "cell"]]).all(axis=None)
    assert first[["y_px", "x_px"]].to_numpy() == pytest.approx(
        second[["y_px", "x_px"]].to_numpy(), abs=0.1
    )
