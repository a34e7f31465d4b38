"""Varied scenes and their photographs: repeatable, lit where they are labelled."""

import numpy as np
import pytest

from cellsieve.simulation import stray_light
from cellsieve.simulation.exposure import expose_varied
from cellsieve.simulation.varied import VariedScene, draw_scene, draw_style


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng(seed), 16.0, 144) for seed in range(12)]


def test_the_same_generator_draws_the_same_scene(scenes):
    again = draw_scene(np.random.default_rng(3), 16.0, 144)
    assert np.array_equal(again.light, scenes[3].light)
    assert np.array_equal(again.labels, scenes[3].labels)


def test_nuclei_are_brighter_than_their_surroundings(scenes):
    brighter = [
        np.median(s.light[s.labels > 0]) > 2 * np.median(s.light[s.labels == 0]) for s in scenes
    ]
    assert all(brighter)


def test_typical_nuclei_have_the_diameter_asked_for(scenes):
    areas = np.concatenate([np.bincount(s.labels.ravel())[1:] for s in scenes])
    whole = areas[areas > 30]
    assert 2 * np.sqrt(np.median(whole) / np.pi) == pytest.approx(16, rel=0.2)


def test_styles_differ():
    styles = [draw_style(np.random.default_rng(seed)) for seed in range(100)]
    assert np.ptp([np.log(style.blur) for style in styles]) > 2
    assert {style.pressed for style in styles} == {0.0, 0.5, 1.0}
    assert 0 < sum(style.glare > 0 for style in styles) < 100


def test_a_photograph_is_scaled_to_its_nuclei_and_free_of_background():
    labels = np.zeros((120, 120), np.int32)
    labels[40:80, 40:80] = 1
    scene = VariedScene((labels > 0).astype(np.float32), labels, 40.0)
    seen = [expose_varied(np.random.default_rng(seed), scene) for seed in range(20)]
    assert min(picture.min() for picture in seen) >= 0
    inside = [np.median(picture[labels > 0]) for picture in seen]
    # the estimate of a field's intensity is wrong by a factor of e^0.4 one time in three
    assert np.median(inside) == pytest.approx(1, rel=0.3)
    outside = [np.median(picture[labels == 0]) for picture in seen]
    assert np.median(outside) < 0.2


def test_a_photograph_need_not_be_proportional_to_the_light():
    """Two nuclei, one twice as bright: the camera's gamma makes the ratio another one."""
    labels = np.zeros((160, 80), np.int32)
    labels[20:60, 20:60], labels[100:140, 20:60] = 1, 2
    scene = VariedScene(labels.astype(np.float32), labels, 40.0)
    ratios = []
    for seed in range(60):
        seen = expose_varied(np.random.default_rng(seed), scene)
        ratios.append(np.median(seen[labels == 2]) / np.median(seen[labels == 1]))
    assert np.percentile(ratios, 10) < 1.7
    assert np.percentile(ratios, 95) > 2.2


@pytest.mark.parametrize(
    ("draw", "brightest"),
    [
        (lambda rng: stray_light.debris(rng, 144, 16), (0.6, 1.5)),
        (lambda rng: stray_light.fibres(rng, 144, 16, 2), (1, 4)),
        (lambda rng: stray_light.ghosts(rng, 144, 16, 0.06), (0.1, 0.45)),
        (lambda rng: stray_light.haze(rng, 144, 16), (0.9, 1)),
    ],
)
def test_stray_light_is_as_bright_as_it_says(draw, brightest):
    drawn = [draw(np.random.default_rng(seed)) for seed in range(20)]
    assert all(light.shape == (144, 144) and light.min() >= 0 for light in drawn)
    assert brightest[0] < np.median([light.max() for light in drawn]) < brightest[1]


def test_ghosts_have_no_edges():
    """Nothing changes within a pixel as the outline of a nucleus in focus does."""
    light = stray_light.ghosts(np.random.default_rng(0), 144, 16, 0.06)
    # the steepest slope of an edge blurred by 4 px is a tenth of its height
    assert np.abs(np.diff(light, axis=0)).max() < 0.15 * light.max()
