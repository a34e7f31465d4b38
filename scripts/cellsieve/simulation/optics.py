"""Light on its way to the camera: points, scattered light, illumination, bleed-through."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

SKIRT = np.float32(0.3)  # share of the light
SKIRT_WIDTH = 2.8


def add_spot(plane: np.ndarray, y: float, x: float, sigma: float, total: float) -> None:
    """Add a Gaussian spot, integrated over each pixel, to a plane in place.

    Parameters
    ----------
    plane : ndarray, (h, w), float
    y, x : float
        Middle of the spot in pixels; 0 is the middle of the first pixel.
    sigma : float
        Standard deviation in pixels.
    total : float
        Light of the whole spot. What falls beyond 4 ``sigma`` is left out, as
        is what falls outside the plane.
    """
    reach = int(np.ceil(4 * sigma)) + 1
    top, left = max(0, round(y) - reach), max(0, round(x) - reach)
    part = plane[top : max(0, round(y) + reach + 1), left : max(0, round(x) + reach + 1)]
    if part.size:
        part += total * np.outer(
            _profile(part.shape[0], y - top, sigma), _profile(part.shape[1], x - left, sigma)
        ).astype(plane.dtype)


def _profile(n: int, middle: float, sigma: float) -> np.ndarray:
    edges = (np.arange(n + 1) - 0.5 - middle) / sigma
    return np.diff(ndtr(edges))


def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Blur the two last axes as a microscope does: a sharp core and a wide skirt.

    Parameters
    ----------
    plane : ndarray, (..., h, w), float32
    sigma : float
        Standard deviation of the core in pixels. The share `SKIRT` of the light
        lies in a skirt that is `SKIRT_WIDTH` times as wide.

    Returns
    -------
    ndarray, like ``plane``
    """
    axes = (plane.ndim - 2, plane.ndim - 1)
    core = ndimage.gaussian_filter(plane, sigma, axes=axes, truncate=3)
    skirt = ndimage.gaussian_filter(plane, SKIRT_WIDTH * sigma, axes=axes, truncate=2.5)
    return (1 - SKIRT) * core + SKIRT * skirt


def blur_margin(sigma: float) -> int:
    """Pixels that a patch needs around its content for `blur` to lose no light."""
    return int(np.ceil(2.5 * SKIRT_WIDTH * sigma)) + 1


def bleed_through(light: np.ndarray, shares: tuple[float, ...]) -> None:
    """Let each channel be seen in the next one, in place.

    Parameters
    ----------
    light : ndarray, (C, h, w), float
    shares : tuple of float, (C - 1,)
        Share of channel ``c`` that is added to channel ``c + 1``.
    """
    for channel in reversed(range(len(shares))):
        light[channel + 1] += np.float32(shares[channel]) * light[channel]


class CoarseMap(NamedTuple):
    """A smooth map of the whole field, kept on a coarse grid.

    Attributes
    ----------
    values : ndarray, (h, w), float32
        Value at pixel ``step * index``.
    step : int
        Pixels between grid points.
    """

    values: np.ndarray
    step: int

    def at(self, rows: slice, cols: slice) -> np.ndarray:
        """Interpolate linearly for a part of the field, float32."""
        return _along(_along(self.values, rows, self.step).T, cols, self.step).T


def _along(values: np.ndarray, part: slice, step: int) -> np.ndarray:
    place = np.arange(part.start, part.stop) / step
    before = place.astype(np.intp)
    weight = (place - before).astype(np.float32)[:, None]
    return values[before] * (1 - weight) + values[before + 1] * weight


def coarse_shape(shape: tuple[int, int], step: int) -> tuple[int, int]:
    """Shape of the grid that covers a field of ``shape`` pixels."""
    return tuple((n - 1) // step + 2 for n in shape)


def scattered(
    shape: tuple[int, int], step: int, centres: np.ndarray, totals: np.ndarray, sigma: float
) -> CoarseMap:
    """Spread the light of many sources widely, as glare and haze do.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the field in pixels.
    step : int
        Pixels between grid points.
    centres : ndarray, (n, 2)
        Sources (y, x) in pixels; those outside the field count for nothing.
    totals : ndarray, (n,)
        Light of each.
    sigma : float
        Standard deviation of the spread in pixels.

    Returns
    -------
    CoarseMap
        Light a pixel.
    """
    grid = coarse_shape(shape, step)
    cell = np.rint(centres / step).astype(int)
    inside = ((cell >= 0) & (cell < grid)).all(axis=1)
    flat = np.ravel_multi_index(cell[inside].T, grid)
    sources = np.bincount(flat, totals[inside], grid[0] * grid[1]).reshape(grid) / step**2
    return CoarseMap(ndimage.gaussian_filter(sources.astype(np.float32), sigma / step), step)


def uneven(
    rng: np.random.Generator, shape: tuple[int, int], step: int, wavelength: float
) -> CoarseMap:
    """Draw a smooth random map, from -1 to 1, of waves in random directions.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        Height and width of the field in pixels.
    step : int
        Pixels between grid points.
    wavelength : float
        Shortest wavelength in pixels; the longest is four times as long.
    """
    rows, cols = (np.arange(n, dtype=np.float32) * step for n in coarse_shape(shape, step))
    total = np.zeros((rows.size, cols.size), np.float32)
    for _ in range(6):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        k = np.float32(2 * np.pi / (wavelength * 4 ** rng.random()))
        total += np.sin(k * (np.sin(angle) * rows[:, None] + np.cos(angle) * cols) + phase) / 6
    return CoarseMap(total.astype(np.float32), step)


def illumination(shape: tuple[int, int], step: int, vignetting: float, middle) -> CoarseMap:
    """Brightness of the lamp: 1 in the middle, ``1 - vignetting`` half a diagonal away.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the field in pixels.
    step : int
        Pixels between grid points.
    vignetting : float
        0 to 1.
    middle : sequence of float, (2,)
        Brightest point (y, x) as shares of height and width.
    """
    y, x = (
        (np.arange(n, dtype=np.float32) * step - m * side)
        for n, m, side in zip(coarse_shape(shape, step), middle, shape, strict=True)
    )
    radius = 0.5 * np.hypot(*shape)
    squared = (y[:, None] ** 2 + x**2) / radius**2
    return CoarseMap((1 / (1 + squared * vignetting / (1 - vignetting))).astype(np.float32), step)
