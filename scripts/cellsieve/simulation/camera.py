"""The camera: from light to counts."""

import numpy as np

from cellsieve.simulation.draws import generator

HOT = 1.5e-5  # share of the pixels that are hot


def expose(
    rng: np.random.Generator, light: np.ndarray, offset: float, read_noise: float, gain: float
) -> np.ndarray:
    """Turn light into counts with shot noise and read noise.

    Parameters
    ----------
    rng : Generator
    light : ndarray, float32
        Expected photoelectrons, not negative.
    offset : float
        Counts without light.
    read_noise : float
        Standard deviation in electrons.
    gain : float
        Counts an electron.

    Returns
    -------
    ndarray, uint16
        Clipped at 65,535.

    Notes
    -----
    Shot noise is normal with variance equal to the light, which Poisson noise
    is very nearly from some twenty photoelectrons on, and ten times faster.
    """
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(light + np.float32(read_noise**2))
    noise += light
    noise *= np.float32(gain)
    noise += np.float32(offset + 0.5)
    return np.clip(noise, 0, 65535, out=noise).astype(np.uint16)


def add_hot_pixels(counts: np.ndarray, *key: int) -> None:
    """Brighten the camera's hot pixels in place.

    Parameters
    ----------
    counts : ndarray, (C, h, w), uint16
        A tile; the same pixels are hot in each channel.
    key : int
        The slide's seed and the tile's position.
    """
    rng = generator("hot pixels", *key)
    n = rng.poisson(HOT * counts[0].size)
    y, x = rng.integers(0, counts.shape[1], n), rng.integers(0, counts.shape[2], n)
    extra = rng.exponential(600, n)
    counts[:, y, x] = np.minimum(counts[:, y, x] + extra, 65535).astype(np.uint16)
