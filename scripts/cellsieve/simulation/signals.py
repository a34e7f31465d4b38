"""FISH signals of one nucleus: where they lie and how they shine."""

from typing import NamedTuple

import numpy as np

from cellsieve.simulation.nucleus import Nucleus

# the probes of one chromosome lie side by side: aqua with gold, green with red
CHROMOSOMES = (0, 1, 0, 1)
SPLIT = {"G2": 0.6, "S": 0.3, "mitotic": 0.6}  # chance that a signal is a doublet
SPLIT_OTHERWISE = 0.06


class Dot(NamedTuple):
    """One point of light; a split signal is two dots.

    Attributes
    ----------
    probe : int
    y, x : float
        In pixels from the nucleus' centre.
    size : float
        Its own standard deviation, relative to the point-spread function.
    light : float
        Relative to a typical signal.
    """

    probe: int
    y: float
    x: float
    size: float
    light: float


def draw_signals(
    rng: np.random.Generator, nucleus: Nucleus, radius: float, counts: list[int], state: str
) -> list[Dot]:
    """Draw the signals of a nucleus.

    Parameters
    ----------
    rng : Generator
    nucleus : Nucleus
    radius : float
        Of the nucleus, in pixels.
    counts : list of int
        Signals of each probe.
    state : str
        Of the cell cycle; after replication signals are often split.

    Returns
    -------
    list of Dot
    """
    inside = np.argwhere(nucleus.depth < 0.93) - nucleus.mask.shape[0] // 2
    split = SPLIT.get(state, SPLIT_OTHERWISE)
    homes = [_apart(rng, inside, max(counts), 0.45 * radius) for _ in range(2)]
    dots = []
    for probe, count in enumerate(counts):
        placed: list[np.ndarray] = []
        for home in homes[CHROMOSOMES[probe]][:count]:
            placed.append(_near(rng, inside, home, 0.22 * radius, placed, 0.25 * radius))
            dots += _shine(rng, probe, placed[-1], radius, split)
    return dots


def _apart(rng, inside: np.ndarray, n: int, least: float) -> list[np.ndarray]:
    """Draw places; a place that is too near to another is drawn again, a few times."""
    places: list[np.ndarray] = []
    for _ in range(n):
        drawn = inside[rng.integers(len(inside), size=8)]
        places.append(_first_clear(drawn, places, least))
    return places


def _near(rng, inside, home, spread, placed, least) -> np.ndarray:
    """Draw a place in the nucleus that is close to ``home`` but not to its own kind."""
    drawn = home + rng.normal(0, spread, (8, 2))
    nearest = ((inside[None] - drawn[:, None]) ** 2).sum(2)
    allowed = nearest.min(1) < 1
    return _first_clear(drawn[allowed] if allowed.any() else home[None], placed, least)


def _first_clear(drawn: np.ndarray, others: list[np.ndarray], least: float) -> np.ndarray:
    if not others:
        return drawn[0]
    gap = np.hypot(*(drawn[:, None] - np.array(others)[None]).transpose(2, 0, 1)).min(1)
    clear = np.flatnonzero(gap >= least)
    return drawn[clear[0] if len(clear) else gap.argmax()]


def _shine(rng, probe: int, place: np.ndarray, radius: float, split: float) -> list[Dot]:
    """One dot, or two when the signal is split; one in ten is weak."""
    light = np.exp(0.4 * rng.standard_normal()) * (0.4 if rng.random() < 0.1 else 1.0)
    size = rng.uniform(0.2, 0.8)
    if rng.random() >= split:
        return [Dot(probe, *place, size, light)]
    angle = rng.uniform(0, 2 * np.pi)
    half = radius * rng.uniform(0.04, 0.09) * np.array([np.sin(angle), np.cos(angle)])
    share = rng.uniform(0.4, 0.6)
    return [
        Dot(probe, *(place + half), size, light * share * 1.2),
        Dot(probe, *(place - half), size, light * (1 - share) * 1.2),
    ]
