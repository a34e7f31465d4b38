"""One nucleus: a smooth random outline filled with chromatin."""

from typing import NamedTuple

import numpy as np

from cellsieve.simulation.texture import texture

VISIBLE = 0.35  # of its greatest height: where the outline is seen
_ANGLES = 720


class Nucleus(NamedTuple):
    """A nucleus in a square patch around its centre, before any blur.

    Attributes
    ----------
    mask : ndarray, (s, s), bool
        Where it is thick enough to be seen.
    density : ndarray, (s, s), float32
        DNA in view: about 1 in the middle of a nucleus, 0 outside.
    depth : ndarray, (s, s), float32
        0 in the middle, 1 on the outline.
    """

    mask: np.ndarray
    density: np.ndarray
    depth: np.ndarray


def reach(radius: float, elongation: float) -> int:
    """Half the side of the patch that holds the nucleus whole, in pixels."""
    return int(np.ceil(radius * (1.15 * np.sqrt(elongation) + 0.45))) + 2


def draw_nucleus(
    rng: np.random.Generator,
    radius: float,
    elongation: float,
    irregularity: float,
    contrast: float,
    coarseness: float,
    flatness: float,
    nucleoli: bool = True,
    half: int | None = None,
) -> Nucleus:
    """Draw a nucleus.

    Parameters
    ----------
    rng : Generator
    radius : float
        In pixels, of a disc with about the same area.
    elongation : float
        Ratio of the axes, 1 or more.
    irregularity : float
        Standard deviation of the outline's radius, as a share of it.
    contrast : float
        Standard deviation of the logarithm of the chromatin density.
    coarseness : float
        Typical distance between chromatin grains, as a share of the diameter.
    flatness : float
        Exponent of the profile: 2 is a ball, 8 a flat disc.
    nucleoli : bool
        Whether it has darker holes.
    half : int, optional
        Half the side of the patch; as small as `reach` says by default.

    Returns
    -------
    Nucleus
        In a patch of ``2 * half + 1`` px.
    """
    half = reach(radius, elongation) if half is None else half
    depth = _depth(rng, radius, elongation, irregularity, half)
    height = np.sqrt(np.clip(1 - depth**flatness, 0, None))
    mask = height > VISIBLE
    grains = texture(rng, mask.shape, coarseness * 2 * radius)
    clouds = texture(rng, mask.shape, 1.2 * radius)
    grains = 1.8 * np.tanh(0.5 * grains + 0.28 * clouds)  # no grain outshines all others
    chromatin = np.exp(contrast * grains)
    rim = rng.uniform(0, 1.2) * contrast
    chromatin *= 1 + rim * np.exp(-(((1 - depth) / 0.12) ** 2))
    if nucleoli:
        chromatin *= _nucleoli(rng, radius, contrast, half)
    return Nucleus(mask, (height * chromatin).astype(np.float32), depth)


def _depth(rng, radius, elongation, irregularity, half) -> np.ndarray:
    """Distance from the centre relative to the outline in that direction."""
    angle = rng.uniform(0, 2 * np.pi)
    grid = np.arange(-half, half + 1, dtype=np.float32) / np.float32(radius)
    shift = rng.uniform(-0.5, 0.5, 2) / radius
    y, x = grid[:, None] + shift[0], grid[None] + shift[1]
    along = (np.cos(angle) * x + np.sin(angle) * y) / np.sqrt(elongation)
    across = (np.cos(angle) * y - np.sin(angle) * x) * np.sqrt(elongation)
    bend = np.clip(rng.normal(0, 0.09), -0.2, 0.2)
    across = across + bend * (along**2 - 0.4)
    turn = np.arctan2(across, along) * (_ANGLES / (2 * np.pi))
    outline = _outline(rng, irregularity)[turn.astype(np.int32)]  # negative turns wrap around
    boxy = rng.uniform(2.0, 2.5)  # exponent of the superellipse; 2 is an ellipse
    distance = (np.abs(along) ** boxy + np.abs(across) ** boxy) ** (1 / boxy)
    return (distance / outline).astype(np.float32)


def _outline(rng: np.random.Generator, irregularity: float) -> np.ndarray:
    """Radius in each direction: harmonics, and now and then a dent or a bleb."""
    turn = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    order = np.arange(2, 13)[:, None]
    amplitude = rng.normal(0, 1, order.shape) / (order / 2) ** 1.7
    waves = (amplitude * np.cos(order * turn + rng.uniform(0, 2 * np.pi, order.shape))).sum(0)
    outline = np.exp(irregularity * waves)
    notched = rng.random() < 3 * irregularity
    if notched:
        height = rng.uniform(-0.35, 0.2)
        width = rng.uniform(0.25, 0.6)
        distance = np.angle(np.exp(1j * (turn - rng.uniform(0, 2 * np.pi))))
        outline *= 1 + height * np.exp(-((distance / width) ** 2))
    return np.clip(outline, 0.5, 1.35).astype(np.float32)


def _nucleoli(rng, radius, contrast, half) -> np.ndarray:
    """Factor that is below 1 in a few round holes."""
    grid = np.arange(-half, half + 1, dtype=np.float32)
    factor = np.ones((grid.size, grid.size), np.float32)
    for _ in range(rng.poisson(2.0)):
        size = radius * rng.uniform(0.1, 0.26)
        y, x = rng.normal(0, 0.33 * radius, 2)
        squared = ((grid[:, None] - y) ** 2 + (grid[None] - x) ** 2) / size**2
        depth = min(0.65, rng.uniform(0.8, 3.5) * contrast)
        factor *= 1 - np.float32(depth) * np.exp(-(squared**1.5))
    return factor
