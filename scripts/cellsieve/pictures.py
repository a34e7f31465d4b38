"""Small pictures for people: overviews, outlines, composites, crops.

Contrast is always stretched between stated limits that belong to a whole
plane, never to one crop: a dim nucleus stays dim and two crops of a field can
be compared by eye.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from cellsieve.files import atomic
from cellsieve.tiles import Tile, tiles

RGB = tuple[int, int, int]

TILE = 1024
SAMPLE = 1_000_000
OUTLINE: RGB = (255, 210, 0)
WHITE: RGB = (255, 255, 255)

# the probes are named after their fluorophores; other roles take a colour by position
CHANNEL_COLOURS: dict[str, RGB] = {
    "dapi": (60, 110, 255),
    "aqua": (0, 225, 235),
    "blue": (60, 110, 255),
    "green": (40, 220, 60),
    "gold": (255, 190, 0),
    "yellow": (255, 230, 0),
    "orange": (255, 140, 0),
    "red": (255, 50, 50),
    "magenta": (255, 60, 220),
}
_OTHER_COLOURS: tuple[RGB, ...] = ((255, 60, 220), (40, 220, 60), (255, 140, 0), (0, 225, 235))


def channel_colour(role: str, position: int = 0) -> RGB:
    """Return the display colour of a channel: by its name, else by its position."""
    return CHANNEL_COLOURS.get(role.lower(), _OTHER_COLOURS[position % len(_OTHER_COLOURS)])


def overview(plane: Any, max_px: int = 1200) -> tuple[np.ndarray, int]:
    """Shrink a plane by averaging blocks, reading it tile by tile.

    Parameters
    ----------
    plane : array-like, (H, W)
        Anything that slices to numbers.
    max_px : int
        Longest side of the result in pixels.

    Returns
    -------
    small : ndarray, (ceil(H / scale), ceil(W / scale)), float32
        Mean of each block; blocks at the lower and right border may be partial.
    scale : int
        Pixels of the plane per pixel of ``small``; 1 when the plane fits.
    """
    scale = _shrink(plane.shape, max_px)
    small = np.zeros([math.ceil(n / scale) for n in plane.shape], np.float32)
    for tile, target in _blocks(plane.shape, scale):
        block = np.asarray(plane[tile.core], np.float32)
        small[target] = _block_sums(block, scale) / _block_sums(np.ones_like(block), scale)
    return small, scale


def sampled_labels(labels: Any, scale: int) -> np.ndarray:
    """Every ``scale``-th label of a plane in both directions, read tile by tile.

    Parameters
    ----------
    labels : array-like, (H, W), integer
    scale : int
        What `overview` returned for the picture to draw on.

    Returns
    -------
    ndarray, (ceil(H / scale), ceil(W / scale)), same dtype
        The label at the middle of each block, so that outlines lie where the
        averaged picture shows them.
    """
    small = np.zeros([math.ceil(n / scale) for n in labels.shape], labels.dtype)
    for tile, target in _blocks(labels.shape, scale):
        block = np.asarray(labels[tile.core])
        y, x = (np.minimum(np.arange(0, n, scale) + scale // 2, n - 1) for n in block.shape)
        small[target] = block[np.ix_(y, x)]
    return small


def contrast_limits(
    plane: Any, low: float = 1.0, high: float = 99.8, where: Any = None
) -> tuple[float, float]:
    """Grey values to show as black and as full brightness, from percentiles of a plane.

    Parameters
    ----------
    plane : array-like, (H, W)
        Read tile by tile; about a million pixels on a regular grid are used.
    low, high : float
        Percentiles, 0 to 100.
    where : array-like, (H, W), optional
        Only pixels where this is not 0 count, if there are any.

    Returns
    -------
    tuple of float
        The second is greater than the first also on a flat plane. Values that
        are not finite do not count; of a plane without any other, 0 and 1.
    """
    step = max(1, math.isqrt(math.prod(plane.shape) // SAMPLE))
    every, chosen = [], []
    for tile in tiles(plane.shape, TILE // step * step or step):
        sample = np.asarray(plane[tile.core])[::step, ::step].ravel()
        finite = np.isfinite(sample)
        every.append(sample[finite])
        if where is not None:
            inside = np.asarray(where[tile.core])[::step, ::step].ravel() != 0
            chosen.append(sample[finite & inside])
    sample = np.concatenate(chosen) if sum(map(len, chosen)) else np.concatenate(every)
    if not len(sample):
        return 0.0, 1.0
    bottom, top = (float(v) for v in np.percentile(sample, (low, high)))
    return bottom, top if top > bottom else bottom + 1.0


def stretch(image: np.ndarray, limits: tuple[float, float], gamma: float = 1.0) -> np.ndarray:
    """Map grey values to 0…255 between fixed limits.

    Parameters
    ----------
    image : ndarray, any shape
    limits : tuple of float
        What becomes 0 and 255; values beyond are clipped.
    gamma : float
        Below 1, dim parts become lighter and bright ones keep their texture.

    Returns
    -------
    ndarray, same shape, uint8
    """
    low, high = limits
    scaled = np.clip((np.asarray(image, np.float32) - low) / (high - low), 0, 1)
    return np.rint(255 * scaled**gamma).astype(np.uint8)


def composite(channels: Sequence[np.ndarray], colours: Sequence[RGB]) -> np.ndarray:
    """Add channels up as coloured light.

    Parameters
    ----------
    channels : sequence of ndarray, (H, W), uint8
        At least one, stretched already.
    colours : sequence of RGB
        One a channel.

    Returns
    -------
    ndarray, (H, W, 3), uint8
    """
    light = np.zeros((*channels[0].shape, 3), np.float32)
    for channel, colour in zip(channels, colours, strict=True):
        light += channel[..., None] * (np.asarray(colour, np.float32) / 255)
    return np.rint(np.minimum(light, 255)).astype(np.uint8)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return a colour copy of a grey picture; a copy of a colour one."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()


def outline_overlay(picture: np.ndarray, labels: np.ndarray, colour: RGB = OUTLINE) -> np.ndarray:
    """Draw the inner one-pixel outline of every label on a picture.

    Parameters
    ----------
    picture : ndarray, (H, W) or (H, W, 3), uint8
    labels : ndarray, (H, W), integer
        0 is background; of the same size as the picture (see `sampled_labels`).
    colour : RGB

    Returns
    -------
    ndarray, (H, W, 3), uint8
    """
    drawn = as_rgb(picture)
    drawn[find_boundaries(labels, mode="inner", background=0)] = colour
    return drawn


def crop(plane: Any, centre: tuple[float, float], side: int) -> np.ndarray:
    """Cut a square around a point; what lies beyond the plane is 0.

    Parameters
    ----------
    plane : array-like, (H, W)
    centre : tuple of float
        ``(y, x)`` in pixels.
    side : int
        Side of the square in pixels.

    Returns
    -------
    ndarray, (side, side), dtype of the plane
    """
    starts = [round(c) - side // 2 for c in centre]
    inside = [
        slice(max(s, 0), max(min(s + side, n), 0)) for s, n in zip(starts, plane.shape, strict=True)
    ]
    block = np.asarray(plane[tuple(inside)])
    square = np.zeros((side, side), block.dtype)
    top, left = (i.start - s for i, s in zip(inside, starts, strict=True))
    square[top : top + block.shape[0], left : left + block.shape[1]] = block
    return square


def enlarge(image: np.ndarray, factor: int, smooth: bool = True) -> np.ndarray:
    """Magnify a small picture by a whole factor.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, 3)
        uint8 when ``smooth``; any type otherwise (labels).
    factor : int
    smooth : bool
        Interpolate (pictures) or repeat pixels (labels).
    """
    if not smooth:
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = image.shape[:2]
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def scale_bar(picture: np.ndarray, pixel_size_um: float) -> tuple[np.ndarray, float]:
    """Draw a scale bar into the lower left corner.

    Parameters
    ----------
    picture : ndarray, (H, W, 3), uint8
    pixel_size_um : float
        Micrometres per pixel of the picture.

    Returns
    -------
    picture : ndarray, (H, W, 3), uint8
    length_um : float
        1, 2 or 5 times a power of ten, at most a third of the width.
    """
    drawn = picture.copy()
    height, width = picture.shape[:2]
    limit = width * pixel_size_um / 3
    power = 10.0 ** math.floor(math.log10(limit))
    length_um = max((step * power for step in (2, 5) if step * power <= limit), default=power)
    margin, thickness = max(2, width // 25), max(2, height // 60)
    bar = slice(height - margin - thickness, height - margin)
    drawn[bar, margin : margin + round(length_um / pixel_size_um)] = WHITE
    return drawn, length_um


def save_png(path: Path | str, picture: np.ndarray) -> None:
    """Write a uint8 picture as PNG, atomically; the same picture has the same bytes."""
    with atomic(path) as part:
        Image.fromarray(picture).save(part, format="PNG", optimize=True)


def _shrink(shape: tuple[int, ...], max_px: int) -> int:
    return max(1, math.ceil(max(shape) / max_px))


def _blocks(shape: tuple[int, int], scale: int) -> list[tuple[Tile, tuple[slice, slice]]]:
    """Tiles cut at multiples of ``scale``, each with its place in the small picture."""
    size = max(1, TILE // scale) * scale
    return [
        (tile, tuple(slice(s.start // scale, math.ceil(s.stop / scale)) for s in tile.core))
        for tile in tiles(shape, size)
    ]


def _block_sums(block: np.ndarray, scale: int) -> np.ndarray:
    rows = np.add.reduceat(block, np.arange(0, block.shape[0], scale), axis=0)
    return np.add.reduceat(rows, np.arange(0, block.shape[1], scale), axis=1)
