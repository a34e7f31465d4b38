"""Specks beside nuclei, drawn by hand."""

import numpy as np
import pytest
from scipy import ndimage
from synthetic import draw_field, ellipse

from cellsieve import objects
from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.anomaly.surroundings import brightest_specks

RULER = Ruler(40.0, 1.0)


def two_nuclei(*specks):
    """Two nuclei of 40 px, 70 px apart, and specks of 3 px at (y, x, brightness)."""
    labels = np.zeros((120, 200), np.uint32)
    labels[ellipse(labels.shape, (60, 60), (20, 20))] = 7
    labels[ellipse(labels.shape, (60, 130), (20, 20))] = 3_000_000_000
    dapi = np.where(labels > 0, 100.0, 0)
    for y, x, brightness in specks:
        dapi[ellipse(labels.shape, (y, x), (3, 3))] += brightness
    return ndimage.gaussian_filter(dapi, 1), labels


def test_a_nucleus_alone_has_none():
    specks = brightest_specks(*two_nuclei(), RULER)
    assert specks.index.tolist() == [7, 3_000_000_000]
    assert (specks < 0.02).all()


@pytest.mark.parametrize(("x", "owner"), [(87, 7), (103, 3_000_000_000)])
def test_a_speck_belongs_to_the_nearest_nucleus(x, owner):
    specks = brightest_specks(*two_nuclei((60, x, 50.0)), RULER)
    assert specks[owner] == pytest.approx(0.4, abs=0.15)  # half as bright, and blurred
    assert specks.drop(owner).max() < 0.02


def test_what_is_far_away_or_evenly_bright_is_none():
    dapi, labels = two_nuclei((12, 15, 500.0))
    assert (brightest_specks(dapi, labels, RULER) < 0.02).all()
    # relative to the nuclei's own light
    assert (brightest_specks(dapi + 300, labels, RULER) < 0.02).all()


def test_neither_exposure_nor_resolution_matters():
    dapi, labels = two_nuclei((60, 87, 50.0))
    once = brightest_specks(dapi, labels, RULER)
    assert brightest_specks(9 * dapi, labels, RULER).to_numpy() == pytest.approx(once.to_numpy())
    fine = [np.kron(part, np.ones((2, 2), part.dtype)) for part in (dapi, labels)]
    twice = brightest_specks(*fine, Ruler(40.0, 0.5))
    assert twice.to_numpy() == pytest.approx(once.to_numpy(), abs=0.03)


def test_batches_do_not_matter(monkeypatch):
    drawn = draw_field((260, 300), 24, 40, seed=5, touching=0.6, background=0)
    dapi = np.maximum(drawn.image, 0)
    whole = brightest_specks(dapi, drawn.labels, Ruler(24.0, 1.0))
    monkeypatch.setattr(objects, "TILE", 40)
    parts = brightest_specks(dapi, drawn.labels, Ruler(24.0, 1.0))
    # ties between two nuclei, and the far end of a Gaussian
    assert (np.isclose(parts, whole, atol=1e-3)).mean() > 0.95


def test_no_nucleus_no_speck():
    assert brightest_specks(np.zeros((9, 9)), np.zeros((9, 9), int), RULER).empty
