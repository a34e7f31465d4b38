"""Random texture in octaves, cut from one periodic supply."""

from functools import lru_cache

import numpy as np
from scipy import fft

from cellsieve.simulation.draws import generator

SIDE = 1024
WAVELENGTHS = (3, 6, 12, 24, 48, 96)  # px, the middle of each octave


@lru_cache(maxsize=1)
def octaves() -> np.ndarray:
    """Return noise in octaves, each with mean 0 and standard deviation 1.

    Returns
    -------
    ndarray, (octave, 1024, 1024), float32
        Periodic in both directions.
    """
    white = fft.rfft2(generator("texture").standard_normal((SIDE, SIDE), dtype=np.float32))
    frequency = np.hypot(fft.fftfreq(SIDE)[:, None], fft.rfftfreq(SIDE)[None]) + 1e-9
    bands = []
    for wavelength in WAVELENGTHS:
        band = fft.irfft2(white * np.exp(-2 * np.log2(frequency * wavelength) ** 2), (SIDE, SIDE))
        bands.append((band - band.mean()) / band.std())
    return np.stack(bands).astype(np.float32)


def texture(
    rng: np.random.Generator, shape: tuple[int, int], wavelength: float, width: float = 1.0
) -> np.ndarray:
    """Cut a random piece of texture with grains of a given size.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        Height and width in pixels; the texture repeats after 1024.
    wavelength : float
        Typical distance between grains in pixels.
    width : float
        Standard deviation of the grain size in octaves.

    Returns
    -------
    ndarray, shape, float32
        Standard deviation about 1.
    """
    distance = np.log2(np.asarray(WAVELENGTHS) / wavelength)
    weights = np.exp(-0.5 * (distance / width) ** 2)
    weights = (weights / np.linalg.norm(weights)).astype(np.float32)
    piece = np.zeros(shape, np.float32)
    for weight, octave in zip(weights, octaves(), strict=True):
        start = rng.integers(0, SIDE, 2)
        if weight > 0.05:  # what is left out is not visible
            rows, cols = ((s + np.arange(n)) % SIDE for s, n in zip(start, shape, strict=True))
            piece += weight * octave[np.ix_(rows, cols)]
    return piece
