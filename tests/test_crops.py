"""Crops of nuclei: in the reference's scale, with nothing of their neighbours."""

import numpy as np
import pytest
from synthetic import draw_field, ellipse

from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.crops import DIAMETER, SIDE, cut_crops
from cellsieve.objects import bounding_boxes


def crops_of(dapi, labels, diameter=24.0, zoom=1.0, intensity=100.0):
    return cut_crops(dapi, labels, bounding_boxes(labels), Ruler(diameter, zoom), intensity)


def disk(radius=12, middle=(60, 70), shape=(120, 140)):
    labels = np.zeros(shape, np.uint32)
    labels[ellipse(shape, middle, (radius, radius))] = 9
    return np.where(labels > 0, 150.0, 0), labels


def test_a_nucleus_lies_in_the_middle_at_its_intensity():
    light, own = crops_of(*disk())[0].astype(float)
    y, x = np.nonzero(own)
    assert (y.mean(), x.mean()) == pytest.approx(((SIDE - 1) / 2,) * 2, abs=0.6)
    assert own.sum() == pytest.approx(np.pi * 12**2, rel=0.03)
    assert light[own > 0].mean() == pytest.approx(1.5, abs=0.05)
    assert light[own == 0].max() < 1


def test_a_large_nucleus_looks_large_and_resolution_does_not_matter():
    small, large = (crops_of(*disk(r))[0, 1].sum(dtype=float) for r in (9, 18))
    assert large / small == pytest.approx(4, rel=0.05)
    dapi, labels = disk()
    fine = [np.kron(part, np.ones((3, 3), part.dtype)) for part in (dapi, labels)]
    coarse, again = crops_of(dapi, labels), crops_of(*fine, zoom=1 / 3)
    assert np.abs(coarse.astype(float) - again).mean() < 0.01


def test_neighbours_and_what_is_far_are_not_seen():
    dapi, labels = disk()
    other = ellipse(labels.shape, (60, 96), (10, 10))
    alone = crops_of(dapi, labels)[0]
    crowded = np.where(other, 900.0, dapi)
    crowded[60 + 12 + 16, 70] = 900  # further than half a diameter
    both = crops_of(crowded, np.where(other, 3, labels))
    assert both.shape == (2, 2, SIDE, SIDE)
    assert np.array_equal(both[1], alone)


def test_what_lies_beside_it_is_seen():
    dapi, labels = disk()
    dapi[60, 70 + 12 + 6] = 5000
    assert crops_of(dapi, labels)[0, 0].astype(float)[:, 48:].max() > 1


@pytest.mark.parametrize("middle", [(3, 3), (117, 137), (60, 1)])
def test_beyond_the_field_there_is_nothing(middle):
    (crop,) = crops_of(*disk(middle=middle))
    assert np.isfinite(crop.astype(float)).all()
    dapi, labels = disk(middle=middle)
    wide = [np.pad(part, 40) for part in (dapi, labels)]
    shown = crops_of(*wide)[0]
    assert np.abs(crop[1].sum(dtype=float) - shown[1].sum(dtype=float)) == 0


def test_every_nucleus_of_a_crowded_field_has_a_crop():
    drawn = draw_field((260, 300), DIAMETER, 40, seed=5, touching=0.6, background=0)
    crops = crops_of(np.maximum(drawn.image, 0), drawn.labels)
    assert len(crops) == drawn.labels.max()
    assert (crops[:, 1].sum((1, 2), dtype=float) > 50).all()


def test_no_nucleus_no_crop():
    assert crops_of(np.zeros((30, 30)), np.zeros((30, 30), int)).shape == (0, 2, SIDE, SIDE)
