"""Pieces of real fields with their pseudo-labels, to train on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.simulation.exposure import slope
from cellsieve.tiles import tiles
from cellsieve.training.examples import cut
from cellsieve.training.recipe import Example

_SIDE = 9  # of a window in diameters
_SIZE_ERROR = 0.2  # standard deviation of the logarithm of an estimated diameter
_LIGHT_ERROR = 0.4  # and of an estimated intensity
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
        At the field's own scale; the picture is float16.
    diameter : float
        Of a typical nucleus in pixels.
    nuclei : int
        How many are labelled.
    """

    shown: Example
    diameter: float
    nuclei: int


def cut_windows(
    fields: Sequence[LabelledField], count: int, rng: np.random.Generator
) -> list[Window]:
    """Cut windows with labelled nuclei out of fields, of each as many if it has them.

    Parameters
    ----------
    fields : sequence of LabelledField
    count : int
        About how many windows there may be in all: they stay in memory.
    rng : Generator

    Returns
    -------
    list of Window
    """
    most = max(1, count // max(1, len(fields)))
    return [window for field in fields for window in _cut_field(field, most, rng)]


def _cut_field(field: LabelledField, most: int, rng: np.random.Generator) -> list[Window]:
    grid = list(tiles(field.dapi.shape, int(_SIDE * field.diameter)))
    windows = []
    for i in rng.permutation(len(grid)):
        labels = np.asarray(field.labels[grid[i].core])
        nuclei = len(np.unique(labels[labels > 0]))
        if not nuclei:
            continue
        picture = np.asarray(field.dapi[grid[i].core], np.float32) / field.intensity
        shown = Example(
            picture.clip(0, 6e4).astype(np.float16),
            np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
            if labels.min() == 0
            else labels.astype(np.int32),
            np.asarray(field.ignored[grid[i].core]) > 0,
        )
        windows.append(Window(shown, field.diameter, nuclei))
        if len(windows) == most:
            break
    return windows


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
    return cut(rng, window.shown._replace(picture=seen), zoom, side)


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
