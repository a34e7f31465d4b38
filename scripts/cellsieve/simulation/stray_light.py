"""Light that comes from no nucleus in focus, for varied scenes; none of it has a label."""

import numpy as np
from scipy import ndimage

from cellsieve.simulation.optics import add_spot, blur
from cellsieve.simulation.texture import texture

_POINTS = 60  # along a fibre


def cytoplasm(rng: np.random.Generator, nuclei: np.ndarray, diameter: float) -> np.ndarray:
    """Draw a ragged, dim neighbourhood of nuclei.

    Parameters
    ----------
    rng : Generator
    nuclei : ndarray, (s, s), bool
    diameter : float
        Of a typical nucleus in pixels.

    Returns
    -------
    ndarray, (s, s), float32
        About 1 beside nuclei.
    """
    near = ndimage.gaussian_filter(nuclei.astype(np.float32), rng.uniform(0.2, 0.6) * diameter)
    return np.clip(2 * near, 0, 1) * np.exp(0.5 * _ragged(rng, len(nuclei), 0.5 * diameter))


def haze(rng: np.random.Generator, side: int, diameter: float) -> np.ndarray:
    """Draw clouds of light from 0 to 1, (side, side) float32."""
    return 0.5 + 0.5 * np.tanh(_ragged(rng, side, 3 * diameter))


def _ragged(rng: np.random.Generator, side: int, wavelength: float) -> np.ndarray:
    return texture(rng, (side, side), wavelength, width=1.5)


def debris(rng: np.random.Generator, side: int, diameter: float) -> np.ndarray:
    """Draw clumps and fragments that are no nuclei, each spot no brighter than 1.

    Parameters
    ----------
    rng : Generator
    side : int
        Of the scene in pixels.
    diameter : float
        Of a typical nucleus in pixels.

    Returns
    -------
    ndarray, (side, side), float32
    """
    light = np.zeros((side, side), np.float32)
    for _ in range(1 + rng.poisson(0.02 * (side / diameter) ** 2)):
        y, x = rng.uniform(0, side, 2)
        spread = diameter * rng.uniform(0.02, 0.25)
        for _ in range(1 + rng.poisson(3)):
            size = diameter * rng.uniform(0.02, 0.12)
            strength = rng.random() ** 2
            dy, dx = rng.normal(0, spread, 2)
            add_spot(light, y + dy, x + dx, size, 2 * np.pi * size**2 * strength)
    return light


def fibres(rng: np.random.Generator, side: int, diameter: float, number: float) -> np.ndarray:
    """Draw threads and flakes, ``number`` of them on average and 1 at least; else as `debris`.

    A typical nucleus is about 1, and some of them are as bright.
    """
    light = np.zeros((side, side), np.float32)
    for _ in range(1 + rng.poisson(number - 1)):
        length = diameter * np.exp(rng.uniform(np.log(0.8), np.log(5)))
        width = diameter * np.exp(rng.uniform(np.log(0.06), np.log(0.3)))
        axis = _crooked_line(rng, side, length)
        if axis.any():
            distance = ndimage.distance_transform_edt(~axis).astype(np.float32)
            grain = np.exp(0.3 * texture(rng, axis.shape, 0.2 * diameter))
            strength = np.exp(rng.uniform(np.log(0.2), np.log(3)))
            light += strength * grain * np.clip(1.5 - 2 * distance / width, 0, 1)
    return light


def _crooked_line(rng: np.random.Generator, side: int, length: float) -> np.ndarray:
    """Mark the pixels of a random walk that keeps its direction for a while."""
    turns = rng.normal(0, rng.uniform(0.02, 0.25), _POINTS)
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
    steps = np.stack([np.sin(angle), np.cos(angle)]) * length / _POINTS
    path = np.rint(rng.uniform(0, side, (2, 1)) + np.cumsum(steps, axis=1)).astype(int)
    line = np.zeros((side, side), bool)
    line[tuple(path[:, ((path >= 0) & (path < side)).all(0)])] = True
    return line


def ghosts(rng: np.random.Generator, side: int, diameter: float, density: float) -> np.ndarray:
    """Draw dim nuclei so far out of focus that nobody would outline them; else as `debris`.

    There is one, and ``density`` more to the square of a diameter on average. A
    typical nucleus in focus is about 1.
    """
    light = np.zeros((side, side), np.float32)
    rows, cols = np.ogrid[:side, :side]
    for _ in range(1 + rng.poisson(density * (side / diameter) ** 2)):
        y, x = rng.uniform(0, side, 2)
        radius = diameter / 2 * rng.uniform(0.7, 1.5)
        disc = (rows - y) ** 2 + (cols - x) ** 2 < radius**2
        light += np.float32(rng.uniform(0.05, 0.45)) * disc
    return blur(light, rng.uniform(0.25, 0.6) * diameter)
