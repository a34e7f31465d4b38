"""What lies on a slide besides nuclei: debris, smears, glowing dirt, stray spots."""

from collections.abc import Callable

import numpy as np

from cellsieve.simulation.nucleus import draw_nucleus
from cellsieve.simulation.optics import add_spot
from cellsieve.simulation.slide import CHANNELS, Slide
from cellsieve.simulation.texture import texture

Drawer = Callable[[np.random.Generator, Slide, float, int], np.ndarray]


def draw_clump(rng: np.random.Generator, slide: Slide, radius: float, half: int) -> np.ndarray:
    """Draw a grainy clump that glows in every channel.

    Parameters
    ----------
    rng : Generator
    slide : Slide
    radius : float
        Of a typical nucleus, in pixels.
    half : int
        Half the side of the patch in pixels.

    Returns
    -------
    ndarray, (C, 2 half + 1, 2 half + 1), float32
        Light before any blur.
    """
    shape = draw_nucleus(
        rng,
        radius * rng.uniform(0.25, 0.7),
        1 + rng.gamma(1.5, 0.3),
        0.12,
        rng.uniform(0.4, 0.9),
        0.15,
        3,
        nucleoli=False,
        half=half,
    )
    glow = np.array([0.8, 1.2, 1.0, 1.2, 0.9]) * rng.uniform(0.4, 1.6, len(CHANNELS))
    strength = rng.gamma(1.2, 1.0) * np.array([slide.stain, *slide.signal[1:]])
    return shape.density * (glow * strength).astype(np.float32)[:, None, None]


def draw_fragments(rng: np.random.Generator, slide: Slide, radius: float, half: int) -> np.ndarray:
    """Draw the bright bits of a dead nucleus, in DAPI alone; parameters as `draw_clump`."""
    light = np.zeros((len(CHANNELS), 2 * half + 1, 2 * half + 1), np.float32)
    spread = radius * rng.uniform(0.15, 0.6)
    for _ in range(1 + rng.poisson(4)):
        y, x = half + rng.normal(0, spread, 2)
        size = radius * rng.uniform(0.05, 0.2)
        add_spot(light[0], y, x, size, 2 * np.pi * size**2 * slide.stain * rng.gamma(1.5, 0.8))
    return light


def draw_smear(rng: np.random.Generator, slide: Slide, radius: float, half: int) -> np.ndarray:
    """Draw a dim, shapeless patch of lysed cell; parameters as `draw_clump`."""
    shape = draw_nucleus(
        rng, 0.5 * half, 1 + rng.gamma(2, 0.4), 0.15, 0.3, 0.3, 2, nucleoli=False, half=half
    )
    ragged = shape.density * np.exp(0.5 * texture(rng, shape.mask.shape, 1.5 * radius, width=1.5))
    strength = rng.uniform(0.04, 0.2) * np.array([slide.stain, *slide.autofluorescence[1:]])
    strength[1:] *= 4
    return ragged.astype(np.float32) * strength.astype(np.float32)[:, None, None]


def draw_stray_spot(rng: np.random.Generator, slide: Slide, radius: float, half: int) -> np.ndarray:
    """Draw a point of probe that stuck where it should not; parameters as `draw_clump`."""
    light = np.zeros((len(CHANNELS), 2 * half + 1, 2 * half + 1), np.float32)
    probe = rng.integers(1, len(CHANNELS))
    light[probe, half, half] = slide.signal[probe] * rng.exponential(2.0)
    return light


# kind: how to draw it, half its patch in radii of a typical nucleus, how many a nucleus' square
KINDS: dict[str, tuple[Drawer, float, float]] = {
    "clump": (draw_clump, 1.5, 0.004),
    "fragments": (draw_fragments, 1.8, 0.008),
    "smear": (draw_smear, 3.0, 0.006),
    "stray spot": (draw_stray_spot, 0.1, 0.15),
}
