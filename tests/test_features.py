"""Features describe the nucleus: not its place, its turn, its scale or the field's exposure."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from synthetic import draw_field, ellipse

from cellsieve import objects
from cellsieve.anomaly.nucleus_features import Ruler, nucleus_features

RULER = Ruler(24.0, 1.0)


@pytest.fixture(scope="module")
def field():
    drawn = draw_field((260, 300), 24, 40, seed=5, touching=0.6, background=0)
    return np.maximum(drawn.image, 0), drawn.labels


def same(first, second, tolerance=1e-4):
    pd.testing.assert_frame_equal(first, second, atol=tolerance, rtol=tolerance)


def test_all_features_are_finite_and_in_order(field):
    table = nucleus_features(*field, RULER)
    assert table.index.tolist() == list(range(1, field[1].max() + 1))
    assert all(name.startswith("f_") for name in table)
    assert np.isfinite(table.to_numpy()).all()
    assert (table.std() > 0).all()


def test_batches_do_not_matter(field, monkeypatch):
    whole = nucleus_features(*field, RULER)
    monkeypatch.setattr(objects, "TILE", 40)
    same(nucleus_features(*field, RULER), whole)


def test_place_does_not_matter(field):
    moved = [np.pad(part, ((513, 20), (600, 7))) for part in field]
    same(nucleus_features(*moved, RULER), nucleus_features(*field, RULER))


@pytest.mark.parametrize("turn", [np.rot90, np.fliplr, np.transpose])
def test_turning_and_mirroring_do_not_matter(field, turn):
    turned = [np.ascontiguousarray(turn(part)) for part in field]
    same(nucleus_features(*turned, RULER), nucleus_features(*field, RULER), 1e-3)


def test_exposure_does_not_matter(field):
    dapi, labels = field
    same(nucleus_features(7.5 * dapi, labels, RULER), nucleus_features(dapi, labels, RULER))


def test_neighbours_do_not_matter(field):
    """The nuclei beside it gone or ten times brighter: shape and texture stay."""
    dapi, labels = field
    within = ["f_variation", "f_fine_texture", "f_coarse_texture", "f_brightest", "f_area"]
    expected = nucleus_features(dapi, labels, RULER).loc[[7], within]
    alone = nucleus_features(dapi, np.where(labels == 7, labels, 0), RULER)
    same(alone[within], expected)
    glaring = np.where(labels == 7, dapi, 10 * dapi)
    same(nucleus_features(glaring, labels, RULER).loc[[7], within], expected)


def test_the_pixel_size_does_not_matter():
    """Imaged at half the resolution, nuclei have the same features but for the coarser outline."""
    fine = draw_field((520, 600), 48, 40, seed=5, background=0, blur=3)
    dapi = np.maximum(fine.image, 0)
    coarse = dapi.reshape(260, 2, 300, 2).mean((1, 3))
    seen_fine = nucleus_features(dapi, fine.labels, Ruler(24.0, 0.5))
    seen_coarse = nucleus_features(coarse, fine.labels[::2, ::2], RULER)
    shift = (seen_fine - seen_coarse).median().abs()
    sizes = ["f_area", "f_elongation", "f_intensity", "f_dna", "f_brightest"]
    assert (shift[sizes] < 0.01).all(), shift
    # a pixel is more of a coarse outline, and hides more of the texture
    assert (shift.drop(sizes) < 0.07).all(), shift


def test_by_hand():
    """An even ellipse of half axes 30 and 15, and one of four times its area."""
    labels = np.zeros((200, 300), np.uint32)
    labels[ellipse(labels.shape, (60, 50), (30, 15))] = 1
    labels[ellipse(labels.shape, (80, 180), (60, 30), 0.0)] = 2
    table = nucleus_features(np.where(labels > 0, 100.0, 0), labels, Ruler(40.0, 1.0))
    areas = np.bincount(labels.ravel())[1:]
    assert table["f_area"].to_numpy() == pytest.approx(areas / 40**2)
    assert table["f_elongation"].to_numpy() == pytest.approx(2, abs=0.04)
    assert table["f_indentation"].to_numpy() == pytest.approx(0, abs=0.04)
    # median DNA content is the mean of the two
    assert table["f_dna"].to_numpy() == pytest.approx(areas / areas.mean())
    assert table["f_intensity"].to_numpy() == pytest.approx(1)
    assert (table["f_fine_texture"] < 1e-3).all()


def test_coarser_chromatin_is_seen():
    rng = np.random.default_rng(0)
    labels = np.zeros((100, 200), np.uint32)
    labels[ellipse(labels.shape, (50, 50), (35, 35))] = 1
    labels[ellipse(labels.shape, (50, 150), (35, 35))] = 2
    grain = np.hstack([ndimage.gaussian_filter(rng.normal(size=(100, 100)), s) for s in (1.5, 6)])
    grain[:, :100] /= grain[:, :100].std()
    grain[:, 100:] /= grain[:, 100:].std()
    table = nucleus_features(1000 + 100 * grain, labels, Ruler(70.0, 1.0))
    ratio = table["f_coarse_texture"] / table["f_fine_texture"]
    assert ratio[2] > 2.5 * ratio[1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_nuclei_are_described(shape):
    labels = np.zeros((20, 20), np.uint32)
    labels[3 : 3 + shape[0], 4 : 4 + shape[1]] = 3_000_000_000
    for dapi in (np.zeros((20, 20), np.uint16), np.full((20, 20), 9, np.uint16)):
        table = nucleus_features(dapi, labels, RULER)
        assert table.index.tolist() == [3_000_000_000]
        assert np.isfinite(table.to_numpy()).all()


def test_no_nucleus_no_row():
    assert len(nucleus_features(np.zeros((9, 9)), np.zeros((9, 9), int), RULER)) == 0
