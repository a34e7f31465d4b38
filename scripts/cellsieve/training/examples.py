"""Pictures to train on, cut out of varied scenes."""

from collections.abc import Sequence
from multiprocessing import Pool

import numpy as np
from scipy import ndimage

from cellsieve.simulation.draws import generator
from cellsieve.simulation.exposure import expose_varied
from cellsieve.simulation.varied import VariedScene, draw_scene
from cellsieve.training.recipe import Example

_DIAMETERS = (7, 38)  # px of a typical nucleus where scenes are drawn: as cameras see it
_SCENE = 9  # side of a scene in diameters
_SIZE_ERROR = 0.25  # standard deviation of the logarithm of an estimated diameter
_ANTIALIAS = 0.4  # pixels of the picture


def draw_scenes(seed: int, count: int, workers: int) -> list[VariedScene]:
    """Draw scenes at the resolutions that cameras have, several at a time."""
    with Pool(workers) as pool:
        return pool.starmap(_scene, [(seed, i) for i in range(count)], chunksize=16)


def _scene(seed: int, index: int) -> VariedScene:
    rng = generator("training scene", seed, index)
    diameter = float(np.exp(rng.uniform(*np.log(_DIAMETERS))))
    scene = draw_scene(rng, diameter, int(_SCENE * diameter))
    # thousands of scenes are held at once
    return scene._replace(
        light=scene.light.astype(np.float16), labels=scene.labels.astype(np.int16)
    )


def draw_example(
    rng: np.random.Generator,
    scenes: Sequence[VariedScene],
    side: int,
    diameter: float,
    smallest: float = 0.0,
) -> Example:
    """Photograph a random scene anew and cut a picture out of it.

    Parameters
    ----------
    rng : Generator
    scenes : sequence of VariedScene
    side : int
        Of the picture in pixels.
    diameter : float
        Pixels that a typical nucleus has in the picture, but for an error as
        its estimate has in real fields.
    smallest : float
        Share of a typical nucleus' area below which something is background:
        a micronucleus is no nucleus.

    Returns
    -------
    Example
    """
    scene = scenes[rng.integers(len(scenes))]
    scene = scene._replace(light=scene.light.astype(np.float32))
    ignored = np.zeros(scene.labels.shape, bool)
    labels = scene.labels.astype(np.int32)
    large = np.bincount(labels.ravel()) >= smallest * np.pi / 4 * scene.diameter**2
    shown = Example(expose_varied(rng, scene), labels * large[labels], ignored)
    error = np.clip(np.exp(_SIZE_ERROR * rng.standard_normal()), 0.6, 1.7)
    return cut(rng, shown, diameter / scene.diameter * error, side)


def cut(rng: np.random.Generator, shown: Example, zoom: float, side: int) -> Example:
    """Cut a picture out of a larger one, turned, mirrored and at another scale.

    Parameters
    ----------
    rng : Generator
    shown : Example
        What to cut it from.
    zoom : float
        Pixels of the new picture to a pixel of the old one.
    side : int
        Of the new picture in pixels; what lies beyond the old one is dark
        background.

    Returns
    -------
    Example
    """
    quarter, mirrored = rng.integers(4), rng.random() < 0.5
    seen, labels, ignored = (np.rot90(plane, quarter) for plane in shown)
    if mirrored:
        seen, labels, ignored = seen[::-1], labels[::-1], ignored[::-1]
    if zoom < 1:
        seen = ndimage.gaussian_filter(seen, _ANTIALIAS / zoom)
    places = [_places(rng, length, side, zoom) for length in seen.shape]
    at = np.meshgrid(*places, indexing="ij")
    return Example(
        ndimage.map_coordinates(seen, at, order=1, mode="grid-constant").astype(np.float32),
        ndimage.map_coordinates(labels, at, order=0, mode="grid-constant"),
        ndimage.map_coordinates(ignored, at, order=0, mode="grid-constant"),
    )


def _places(rng: np.random.Generator, length: int, side: int, zoom: float) -> np.ndarray:
    room = max(0.0, length - side / zoom)
    return (np.arange(side) + 0.5) / zoom + rng.uniform(0, room) - 0.5
