"""Cut a plane into tiles, with or without a halo around each."""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

SAMPLE_TILE = 1024  # pixels
SAMPLE_TILES = 4


class Tile(NamedTuple):
    """One tile of a plane, in pixels of the plane.

    Attributes
    ----------
    core : tuple of slice
        The ``(y, x)`` part that belongs to this tile alone; cores cover the
        plane without overlap.
    padded : tuple of slice
        The core with its halo, clipped at the plane's border.
    """

    core: tuple[slice, slice]
    padded: tuple[slice, slice]

    @property
    def core_in_padded(self) -> tuple[slice, slice]:
        """The core in coordinates of the padded part."""
        return tuple(
            slice(c.start - p.start, c.stop - p.start)
            for c, p in zip(self.core, self.padded, strict=True)
        )


def tiles(
    shape: tuple[int, int], size: int, halo: int = 0, offset: tuple[int, int] = (0, 0)
) -> Iterator[Tile]:
    """Yield the tiles of a plane in row-major order.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the plane in pixels.
    size : int
        Side of a core in pixels.
    halo : int
        Pixels of surroundings added on each side of a core.
    offset : tuple of int
        Shifts the grid up and left by this many pixels, at most ``size``;
        results must not depend on it.

    Yields
    ------
    Tile
    """
    for y in range(-offset[0], shape[0], size):
        for x in range(-offset[1], shape[1], size):
            core = (_clip(y, y + size, shape[0]), _clip(x, x + size, shape[1]))
            if all(s.stop > s.start for s in core):
                yield Tile(
                    core,
                    tuple(
                        _clip(s.start - halo, s.stop + halo, n)
                        for s, n in zip(core, shape, strict=True)
                    ),
                )


def richest_tiles(labels: Any) -> list[Tile]:
    """Return the few tiles of a field that hold the most nuclear pixels."""
    filled = [(np.count_nonzero(labels[t.core]), t) for t in tiles(labels.shape, SAMPLE_TILE)]
    filled = sorted((f for f in filled if f[0]), key=lambda f: -f[0])
    return [tile for _, tile in filled[:SAMPLE_TILES]]


def _clip(start: int, stop: int, length: int) -> slice:
    return slice(max(start, 0), min(stop, length))


def sample_windows(plane: Any, size: int = 1024, most: int = 6) -> list[tuple[slice, slice]]:
    """Return the windows of a plane that show the most, to stand for all of it.

    Large fields are often empty for the most part, at their corners above all.

    Parameters
    ----------
    plane : array-like, (H, W)
        Read tile by tile when it is larger than ``most`` windows.
    size : int
        About the side of a window in pixels.
    most : int
        Largest number of windows.

    Returns
    -------
    list of tuple of slice
        In row-major order; the whole plane when it is hardly larger than a
        window.
    """
    rows, cols = (parts(length, max(1, round(length / size))) for length in plane.shape)
    windows = list(product(rows, cols))
    if len(windows) <= most:
        return windows
    shown = [_range_shown(np.asarray(plane[window])) for window in windows]
    chosen = np.argsort(shown, kind="stable")[-most:]
    return [windows[i] for i in sorted(chosen)]


def parts(length: int, count: int) -> list[slice]:
    """Divide a length into parts that differ by a pixel at most."""
    edges = [length * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _range_shown(window: np.ndarray) -> float:
    """Range of brightness over means of 8×8 px, in which noise is averaged out."""
    block = min(8, *window.shape)
    height, width = (n // block for n in window.shape)
    whole = window[: height * block, : width * block]
    means = whole.reshape(height, block, width, block).mean((1, 3))
    low, high = np.percentile(means, [5, 99])
    return float(high - low)
