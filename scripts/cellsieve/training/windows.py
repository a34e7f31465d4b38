"""Pieces of real fields with their pseudo-labels, to train on."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce

from cellsieve.simulation.exposure import slope
from cellsieve.tiles import parts
from cellsieve.training.examples import cut
from cellsieve.training.recipe import Example

_SIDE = 9  # of a window in diameters
_SIZE_ERROR = 0.2  # standard deviation of the logarithm of an estimated diameter
_LIGHT_ERROR = 0.4  # and of an estimated intensity
_FINEST = 48  # px of a nucleus, about: larger ones are kept with less resolution
_BRIGHTEST = 6e4  # typical nuclei; the largest float16 is little above
_BLUR = 0.08  # largest sigma, in diameters


class LabelledField(NamedTuple):
    """A field of which some nuclei are known.

    Attributes
    ----------
    name : str
    dapi : array-like, (H, W)
        Background-subtracted counts.
    labels : array-like, (H, W), integer
        0 = background, or not known.
    ignored : array-like, (H, W)
        Not 0 where nothing is known.
    diameter, intensity : float
        Of a typical nucleus, pixels and counts.
    """

    name: str
    dapi: Any
    labels: Any
    ignored: Any
    diameter: float
    intensity: float


class Window(NamedTuple):
    """A piece of a field.

    Attributes
    ----------
    shown : Example
        The picture is float16, the labels are int16.
    diameter : float
        Of a typical nucleus in pixels of the window.
    nuclei : tuple of int
        Labels that it shows, as they are numbered in the field.
    """

    shown: Example
    diameter: float
    nuclei: tuple[int, ...]


def cut_windows(field: LabelledField, most: int, rng: np.random.Generator) -> list[Window]:
    """Cut windows with labelled nuclei out of a field.

    Parameters
    ----------
    field : LabelledField
    most : int
        How many windows there may be: they stay in memory.
    rng : Generator
        Chooses among them.

    Returns
    -------
    list of Window
        Parts of the field of about nine diameters; where nuclei are large, seen
        with less resolution.
    """
    side = _SIDE * field.diameter
    rows, cols = (parts(n, max(1, round(n / side))) for n in field.dapi.shape)
    grid = list(product(rows, cols))
    windows: list[Window] = []
    for i in rng.permutation(len(grid)):
        if len(windows) == most:
            break
        window = _cut(field, grid[i])
        if window.nuclei:
            windows.append(window)
    return windows


def _cut(field: LabelledField, region: tuple[slice, slice]) -> Window:
    factor = max(1, round(field.diameter / _FINEST))
    light = np.asarray(field.dapi[region], np.float32) / field.intensity
    picture = block_reduce(light, factor, np.mean).clip(0, _BRIGHTEST).astype(np.float16)
    sampled = np.s_[factor // 2 :: factor, factor // 2 :: factor]
    numbers, labels = np.unique(np.asarray(field.labels[region]), return_inverse=True)
    # hundreds of windows are held at once
    labels = labels.reshape(light.shape).astype(np.int16) + np.int16(numbers[0] > 0)
    ignored = np.asarray(field.ignored[region]) > 0
    height, width = labels[sampled].shape
    shown = Example(picture[:height, :width], labels[sampled], ignored[sampled])
    return Window(shown, field.diameter / factor, tuple(numbers[numbers > 0].tolist()))


def draw_window(
    rng: np.random.Generator, windows: Sequence[Window], side: int, diameter: float
) -> Example:
    """Cut a picture out of a random window, with other light, focus, noise and scale.

    Parameters
    ----------
    rng : Generator
    windows : sequence of Window
    side : int
        Of the picture in pixels.
    diameter : float
        Pixels that a typical nucleus has in the picture, but for an error as
        its estimate has in other fields.

    Returns
    -------
    Example
    """
    window = windows[rng.integers(len(windows))]
    seen = vary(rng, window.shown.picture.astype(np.float32), window.diameter)
    error = np.clip(np.exp(_SIZE_ERROR * rng.standard_normal()), 0.6, 1.7)
    zoom = diameter / window.diameter * error
    labels = window.shown.labels.astype(np.int32)
    return cut(rng, window.shown._replace(picture=seen, labels=labels), zoom, side)


def vary(rng: np.random.Generator, seen: np.ndarray, diameter: float) -> np.ndarray:
    """Show a picture as another exposure, focus, noise and background would have.

    Parameters
    ----------
    rng : Generator
    seen : ndarray, (h, w), float32
        A typical nucleus is about 1.
    diameter : float
        Of a typical nucleus in pixels.

    Returns
    -------
    ndarray, (h, w), float32
        Not negative.
    """
    if rng.random() < 0.3:
        seen = ndimage.gaussian_filter(seen, rng.uniform(0, _BLUR) * diameter)
    if rng.random() < 0.3:
        noise = rng.standard_normal(seen.shape, dtype=np.float32)
        seen = seen + noise * np.sqrt(np.maximum(seen, 0.02)) * np.float32(rng.uniform(0, 0.15))
    if rng.random() < 0.3:
        seen = seen + np.float32(rng.uniform(0, 0.1)) * (1 + slope(rng, seen.shape))
    gain = np.exp(_LIGHT_ERROR * rng.standard_normal())
    return np.clip(seen * gain, 0, None).astype(np.float32)
