"""Pictures to train on, cut out of varied scenes."""

from collections.abc import Sequence
from multiprocessing import Pool
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.simulation.draws import generator
from cellsieve.simulation.exposure import expose_varied
from cellsieve.simulation.varied import VariedScene, draw_scene

_DIAMETERS = (7, 38)  # px of a typical nucleus where scenes are drawn: as cameras see it
_SCENE = 9  # side of a scene in diameters
_SIZE_ERROR = 0.25  # standard deviation of the logarithm of an estimated diameter
_ANTIALIAS = 0.4  # pixels of the picture


class Example(NamedTuple):
    """A picture at the model's scale and its truth.

    Attributes
    ----------
    picture : ndarray, (s, s), float32
        A typical nucleus is about 1, background 0.
    labels : ndarray, (s, s), int32
        0 = background.
    """

    picture: np.ndarray
    labels: np.ndarray


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
    rng: np.random.Generator, scenes: Sequence[VariedScene], side: int, diameter: float
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

    Returns
    -------
    Example
    """
    scene = scenes[rng.integers(len(scenes))]
    scene = scene._replace(light=scene.light.astype(np.float32))
    seen, labels = expose_varied(rng, scene), scene.labels.astype(np.int32)
    quarter, mirrored = rng.integers(4), rng.random() < 0.5
    seen, labels = (np.rot90(plane, quarter) for plane in (seen, labels))
    if mirrored:
        seen, labels = seen[::-1], labels[::-1]
    error = np.clip(np.exp(_SIZE_ERROR * rng.standard_normal()), 0.6, 1.7)
    zoom = diameter / scene.diameter * error
    if zoom < 1:
        seen = ndimage.gaussian_filter(seen, _ANTIALIAS / zoom)
    room = max(0.0, len(seen) - side / zoom)
    y, x = ((np.arange(side) + 0.5) / zoom + rng.uniform(0, room) - 0.5 for _ in range(2))
    at = np.meshgrid(y, x, indexing="ij")
    return Example(
        ndimage.map_coordinates(seen, at, order=1, mode="grid-constant").astype(np.float32),
        ndimage.map_coordinates(labels, at, order=0, mode="grid-constant"),
    )
