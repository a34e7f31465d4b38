"""From a varied scene to a picture as preprocessing would hand it to a network."""

import numpy as np
from scipy import ndimage

from cellsieve.simulation.varied import VariedScene


def expose_varied(rng: np.random.Generator, scene: VariedScene) -> np.ndarray:
    """Photograph a scene with a random camera and take its background away again.

    Parameters
    ----------
    rng : Generator
    scene : VariedScene

    Returns
    -------
    ndarray, (s, s), float32
        Not negative; a typical nucleus is about 1, as after preprocessing.
    """
    light = scene.light
    level = np.exp(rng.uniform(np.log(0.005), np.log(0.8)))  # of the background
    ground = level * (1 + rng.uniform(0, 0.5) * slope(rng, light.shape))
    photons = np.exp(rng.uniform(np.log(15), np.log(4000)))  # of a typical nucleus
    seen = light + ground.astype(np.float32)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    if rng.random() < 0.3:  # a camera or a file format that smooths its noise
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 0.9)) * 2
    read = np.float32(rng.uniform(0, 0.03))
    seen = seen + noise * np.sqrt(np.maximum(seen, 0) / np.float32(photons) + read**2)
    if rng.random() < 0.3:
        brightest = rng.uniform(0.8, 2.5)  # the camera saturates
        seen = np.minimum(seen, brightest)
    if rng.random() < 0.4:
        bits = np.exp(rng.uniform(np.log(20), np.log(250)))  # grey values up to a typical nucleus
        seen = np.round(seen * bits) / bits
    dark = np.percentile(seen, 100 * min(0.5, 0.5 * np.mean(scene.labels == 0) + 0.02))
    seen = np.clip(seen - dark, 0, None)
    inside = scene.labels > 0
    typical = np.median(seen[inside]) if inside.any() else 1.0
    scale = max(typical, 1e-3) * np.exp(0.4 * rng.standard_normal())
    if rng.random() < 0.5:  # files are not always proportional to the light
        gamma = np.clip(np.exp(0.3 * rng.standard_normal()), 0.55, 1.8)
        return ((seen / scale) ** gamma).astype(np.float32)
    return (seen / scale).astype(np.float32)


def slope(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw a smooth map without any detail of a nucleus' size, (h, w), about -1 to 1."""
    grid = rng.uniform(-1, 1, (4, 4))
    return ndimage.zoom(grid, (shape[0] / 4, shape[1] / 4), order=1, grid_mode=True, mode="nearest")
