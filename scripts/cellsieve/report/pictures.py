"""Pictures of the report, as data that travels inside the page."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from cellsieve.pictures import RGB, enlarge

QUALITY = 82
HEAT_COLOURS = "inferno"
_NO_SCORE: RGB = (150, 150, 150)


def data_uri(picture: np.ndarray) -> str:
    """Return a uint8 picture, (H, W) or (H, W, 3), as a WebP data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def file_uri(path: Path, max_px: int) -> str:
    """Return a picture file as a data URI, shrunk to at most ``max_px`` on its longest side."""
    with Image.open(path) as stored:
        image = stored.convert("RGB")
        image.thumbnail((max_px, max_px), Image.Resampling.LANCZOS)
        return data_uri(np.asarray(image))


def heat_limits(maps: Iterable[np.ndarray]) -> tuple[float, float]:
    """Scores shown as the darkest and the brightest colour, for all fields of a run.

    Parameters
    ----------
    maps : iterable of ndarray, (h, w)
        Score maps; NaN where there is no score.

    Returns
    -------
    tuple of float
        The median of all maps and the highest 99.9th percentile of a map, so
        that one abnormal field among a hundred normal ones is not cut off.
    """
    middles, tops = [], []
    for scores in maps:
        if np.isfinite(scores).any():
            middles.append(np.nanmedian(scores))
            tops.append(np.nanpercentile(scores, 99.9))
    if not tops:
        return 0.0, 1.0
    low, high = float(np.median(middles)), float(max(tops))
    return low, high if high > low else low + 1.0


def heat_picture(scores: np.ndarray, limits: tuple[float, float], max_px: int) -> np.ndarray:
    """Colour a score map on the run's one scale; grey where there is no score.

    Parameters
    ----------
    scores : ndarray, (h, w), float
        NaN where there is no score.
    limits : tuple of float
        Of `heat_limits`.
    max_px : int
        Longest side of the picture. A larger map is shrunk to the highest score
        of each block, so that a single abnormal nucleus stays as bright as it is.

    Returns
    -------
    ndarray, (a, b, 3), uint8
        Map pixels are blocks of it when there are fewer than ``max_px``.
    """
    small = _block_maximum(scores, -(-max(scores.shape) // max_px))
    shown = (small - limits[0]) / (limits[1] - limits[0])
    picture = colormaps[HEAT_COLOURS](np.nan_to_num(shown), bytes=True)[..., :3].copy()
    picture[np.isnan(small)] = _NO_SCORE
    # whole map pixels, large enough that a browser does not blur them into each other
    return enlarge(picture, max(1, max_px // max(picture.shape)), smooth=False)


def _block_maximum(scores: np.ndarray, side: int) -> np.ndarray:
    """Return the highest score of each block of ``side`` pixels; NaN if it has none."""
    padding = [(0, -n % side) for n in scores.shape]
    padded = np.pad(scores, padding, constant_values=np.nan)
    rows, cols = (n // side for n in padded.shape)
    return np.fmax.reduce(padded.reshape(rows, side, cols, side), axis=(1, 3))


def heat_legend(steps: int = 9) -> list[str]:
    """CSS colours from the darkest to the brightest of the heat maps."""
    colours = colormaps[HEAT_COLOURS](np.linspace(0, 1, steps), bytes=True)[:, :3]
    return ["#{:02x}{:02x}{:02x}".format(*map(int, colour)) for colour in colours]
