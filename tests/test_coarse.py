"""Engines outline drawn nuclei, whatever shines beside them, and nothing where there are none."""

from dataclasses import replace

import numpy as np
import pytest
import zarr
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed
from synthetic import PEAK, draw_field, ellipse

from cellsieve.benchmarks.metrics import iou_matrix, match
from cellsieve.choices import COARSE
from cellsieve.coarse import ENGINES, Scale, measure_scale
from cellsieve.coarse.foreground import foreground
from cellsieve.coarse.growing import grow
from cellsieve.preprocessing import preprocess
from cellsieve.segmentation import segment_field
from cellsieve.simulation.nucleus import draw_nucleus
from cellsieve.simulation.render import render
from cellsieve.simulation.scene import Field
from cellsieve.simulation.slide import draw_slide

DIAMETER = 24


@pytest.fixture(scope="module")
def field():
    drawn = draw_field((330, 300), DIAMETER, 50, seed=2, background=0)
    return drawn._replace(image=np.maximum(drawn.image, 0))


def glaring_field(seed):
    """Dim nuclei of 100 counts, and debris ten to fifty times as bright on a tilted background."""
    shape, stain, radius = (400, 500), 60.0, 18
    rng = np.random.default_rng(seed)
    slide = replace(draw_slide(seed), stain=stain)
    field = Field(*shape, nuclei=18, seed=seed, pixel_size_um=13.7 / (2 * radius))
    image, labels, _ = render(field, slide)
    light = np.zeros(shape)
    for _ in range(6):
        size = radius * rng.uniform(0.2, 0.8)
        clump = draw_nucleus(rng, size, 1.3, 0.14, 0.5, 0.15, 3, nucleoli=False, half=40).density
        y, x = (int(rng.integers(0, length - len(clump))) for length in shape)
        light[y : y + len(clump), x : x + len(clump)] += stain * rng.uniform(10, 50) * clump
    covered = np.unique(labels[light > stain])
    halo = ndimage.gaussian_filter(light, radius)
    light = 0.9 * ndimage.gaussian_filter(light, 1.5) + 0.1 * halo + np.linspace(0, 40, shape[1])
    image = image[0] + slide.gain * rng.poisson(light)
    return np.minimum(image, 4095).astype(np.uint16), np.where(np.isin(labels, covered), 0, labels)


def segment(image, engine):
    """As a user does: background, diameter and scale are measured on the image."""
    group = zarr.open_group(zarr.storage.MemoryStore(), mode="w")
    diameter = preprocess(image, group)["diameter_px"]
    found = segment_field(group["dapi"], diameter, engine, group)
    return found.lookup[found.labels[0 : image.shape[0], 0 : image.shape[1]]]


def otsu(image):
    """One threshold for the field, cut at the peaks of the distance transform."""
    smooth = ndimage.gaussian_filter(image.astype(float), 1)
    mask = smooth > threshold_otsu(smooth)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 2)
    seeds = np.zeros(image.shape, int)
    peaks = peak_local_max(depth, min_distance=7, labels=mask.astype(int))
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, seeds, mask=mask)


def test_the_names_of_the_options_are_the_engines():
    assert tuple(ENGINES) == COARSE


@pytest.mark.parametrize("engine", COARSE)
def test_drawn_nuclei_are_outlined(field, engine):
    scale = measure_scale(field.image, DIAMETER)
    labels = ENGINES[engine](field.image, scale)
    assert labels.shape == field.image.shape
    assert match(iou_matrix(field.labels, labels), 0.6).f1 > 0.9
    assert np.array_equal(labels, ENGINES[engine](field.image, scale))


@pytest.mark.parametrize("engine", COARSE)
def test_a_piece_without_nuclei_has_no_objects(field, engine):
    scale = measure_scale(field.image, DIAMETER)
    noise = np.random.default_rng(0).normal(0, 2, (100, 120)).clip(0)
    assert not ENGINES[engine](noise, scale).any()
    assert not ENGINES[engine](np.zeros((40, 50), np.uint16), scale).any()


@pytest.mark.parametrize("engine", COARSE)
def test_dim_nuclei_beside_glare_are_found(engine):
    fields = [glaring_field(seed) for seed in (1, 2)]
    for image, truth in fields:
        ours, plain = (match(iou_matrix(truth, f)) for f in (segment(image, engine), otsu(image)))
        assert ours.f1 > 0.65
        assert ours.f1 > plain.f1 + 0.3


@pytest.mark.parametrize("engine", COARSE)
def test_counts_in_other_units_give_the_same_objects(field, engine):
    first, second = (
        ENGINES[engine](image, measure_scale(image, DIAMETER))
        for image in (field.image, 8.0 * field.image)
    )
    assert np.array_equal(first, second)


def test_the_scale_is_that_of_the_nuclei():
    masks = [ellipse((200, 200), (y, x), (12, 12)) for y in (40, 100, 160) for x in (40, 100, 160)]
    image = ndimage.gaussian_filter(PEAK * sum(masks).astype(float), 1.2)
    scale = measure_scale(image, DIAMETER)
    assert scale.core == pytest.approx(PEAK, rel=0.2)
    assert measure_scale(np.zeros((50, 50), np.uint16), DIAMETER) is None
    # one disc becomes a fiftyfold glare: what is typical stays
    glare = image + 49 * ndimage.gaussian_filter(PEAK * masks[4].astype(float), 1.2)
    assert measure_scale(glare, DIAMETER).core == pytest.approx(scale.core, rel=0.15)
    assert measure_scale(glare, DIAMETER).edge == pytest.approx(scale.edge, rel=0.15)


def test_the_foreground_has_no_halo_and_keeps_crowds():
    scale = Scale(20.0, 1.0, 800.0, 100.0, 20.0)
    alone = np.where(ellipse((120, 120), (60, 60), (10, 10)), 100.0, 0)
    assert np.array_equal(foreground(alone, scale), alone > 0)
    crowd = np.full((120, 120), 100.0)
    assert foreground(crowd, scale).all()
    pedestal = np.full((120, 120), 30.0) + alone  # haze over the whole piece
    assert np.array_equal(foreground(pedestal, scale), alone > 0)


def test_regions_grow_over_what_is_like_them():
    row = np.array([[0, 10, 90, 100, 100, 40, 45, 48, 50, 5, 0]], float)
    seeds = np.array([[0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0]], np.int32)
    # by hand: 90 and 100 are within half of 1's mean, the forties of 2's; 40 is 0.2 from 2's
    # mean of 50 or less and 0.6 from 1's
    everywhere = np.ones(row.shape, bool)
    assert grow(row, seeds, everywhere, 5).tolist() == [[0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 0]]
    assert grow(row, seeds, everywhere, 1).tolist() == [[0, 0, 1, 1, 1, 0, 0, 2, 2, 0, 0]]
    inside = np.arange(11) != 2
    assert grow(row, seeds, inside[None], 5).tolist() == [[0, 0, 0, 1, 1, 2, 2, 2, 2, 0, 0]]
