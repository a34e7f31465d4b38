"""Where the nuclei lie: alone, touching, overlapping, in clusters."""

from collections import defaultdict

import numpy as np

TRIES = 30
CLUSTERED = 0.45  # share of the nuclei that seek a neighbour


def place(rng: np.random.Generator, radii: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Place nuclei one after the other, keeping a part of each visible.

    A nucleus lies anywhere that is free, or beside one that is there already,
    from just touching to overlapping. The centre of the smaller of two never
    lies inside the larger.

    Parameters
    ----------
    rng : Generator
    radii : ndarray, (n,)
        In pixels.
    shape : tuple of int
        Height and width of the field in pixels. Centres lie up to 0.7 mean
        radii outside it.

    Returns
    -------
    ndarray, (n, 2), float64
        Centres (y, x) in pixels; NaN for a nucleus that found no place.
    """
    placed = _Placed(radii)
    if not len(radii):
        return placed.centres
    margin = 0.7 * radii.mean()
    low, high = np.full(2, -margin), np.asarray(shape) + margin
    crowd = rng.uniform(low, high, (max(1, len(radii) // 150), 2))
    for i in range(len(radii)):
        for _ in range(TRIES):
            seeks = rng.random() < CLUSTERED and placed.order
            if seeks:
                centre, gap = _beside(rng, placed, i), 0.72
            else:
                centre, gap = _anywhere(rng, low, high, crowd, radii.mean()), 1.02
            if (centre >= low).all() and (centre < high).all() and placed.fits(i, centre, gap):
                placed.add(i, centre)
                break
    return placed.centres


def _anywhere(rng, low, high, crowd, radius) -> np.ndarray:
    """Draw a place; a third of them gather around random middles."""
    if rng.random() < 0.35:
        return crowd[rng.integers(len(crowd))] + rng.normal(0, 8 * radius, 2)
    return rng.uniform(low, high)


def _beside(rng: np.random.Generator, placed: "_Placed", i: int) -> np.ndarray:
    neighbour = placed.order[rng.integers(len(placed.order))]
    angle = rng.uniform(0, 2 * np.pi)
    overlaps = rng.random() < 0.3
    reach = rng.uniform(*((0.72, 0.95) if overlaps else (0.95, 1.12))) * (
        placed.radii[i] + placed.radii[neighbour]
    )
    return placed.centres[neighbour] + reach * np.array([np.sin(angle), np.cos(angle)])


class _Placed:
    """Nuclei that have a place, found by the cell of a grid they lie in."""

    def __init__(self, radii: np.ndarray):
        self.radii = radii
        self.centres = np.full((len(radii), 2), np.nan)
        self.order: list[int] = []
        self._cells: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._side = 2 * radii.max() * 1.02 if len(radii) else 1.0

    def add(self, i: int, centre: np.ndarray) -> None:
        self.centres[i] = centre
        self.order.append(i)
        self._cells[self._cell(centre)].append(i)

    def fits(self, i: int, centre: np.ndarray, gap: float) -> bool:
        """Whether all others are ``gap`` sums of radii away, and a radius at least."""
        row, col = self._cell(centre)
        near = [
            j
            for y in (row - 1, row, row + 1)
            for x in (col - 1, col, col + 1)
            for j in self._cells.get((y, x), ())
        ]
        distance = np.hypot(*(self.centres[near] - centre).T)
        others = self.radii[near]
        least = np.maximum(gap * (others + self.radii[i]), np.maximum(others, self.radii[i]))
        return bool((distance >= least).all())

    def _cell(self, centre: np.ndarray) -> tuple[int, int]:
        return int(centre[0] // self._side), int(centre[1] // self._side)
