"""Cut a plane into tiles, with or without a halo around each."""

from collections.abc import Iterator
from typing import NamedTuple


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


def _clip(start: int, stop: int, length: int) -> slice:
    return slice(max(start, 0), min(stop, length))


def sample_windows(
    shape: tuple[int, int], size: int = 1024, most: int = 2
) -> list[tuple[slice, slice]]:
    """Return evenly spread windows that stand for a plane.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the plane in pixels.
    size : int
        Side of a window in pixels.
    most : int
        Number of windows along an axis much longer than one.

    Returns
    -------
    list of tuple of slice
        The whole plane when it is small enough.
    """
    along = []
    for length in shape:
        # a plane that is hardly larger than a window is one window
        count = most if length > 1.5 * size else 1
        size_here = size if count > 1 else length
        room = length - size_here
        starts = [round(room * i / max(count - 1, 1)) for i in range(count)]
        along.append([slice(s, s + size_here) for s in starts])
    return [(y, x) for y in along[0] for x in along[1]]
