"""Candidate FISH signals of one probe: maxima of a band-pass, tile by tile.

A signal is a blob as wide as the optics make it, on a wider background. So the
plane is passed through a difference of Gaussians tuned to the blob, and each
local maximum is a candidate. Its response divided by the robust noise of the
response in the same nucleus is its contrast, which can be compared between
nuclei, fields and cameras. Where the line between noise and signal lies is
decided later, for a whole slide.

References
----------
Marr & Hildreth, Theory of edge detection. Proc. R. Soc. B 207:187 (1980): the
difference of Gaussians and its ratio. Lindeberg, Feature detection with
automatic scale selection. Int. J. Comput. Vis. 30:79 (1998): the radius √2
sigma of a Gaussian blob.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from cellsieve.errors import BadFieldError
from cellsieve.tiles import Tile, tiles

TILE = 1024
RATIO = 1.6  # of neighbouring Gaussians
TRUNCATE = 4.0
WIDEST = 24.0  # size in sigmas of the band beyond which it cannot be told
MAD_TO_SD = 1.4826
FEWEST_PIXELS = 100  # for a nucleus to have a noise of its own
# noise is read from a histogram of log2 |response / floor|, in eighths of an octave
_BINS_PER_OCTAVE = 8
_LOWEST_OCTAVE = -4
_BINS = 24 * _BINS_PER_OCTAVE
_COLUMNS = ["cell", "y_px", "x_px", "size_px", "height", "contrast", "shared"]
_TYPES = {"cell": np.int64, "shared": bool}


def find_spots(
    plane: Any,
    labels: Any,
    radius_px: float,
    minimum_contrast: float = 3.0,
    beside_px: int = 0,
    tile: int = TILE,
) -> pd.DataFrame:
    """Find the candidate signals of one probe.

    Parameters
    ----------
    plane : array-like, (H, W), number
        Sliceable; camera counts, the background need not be removed.
    labels : array-like, (H, W), integer
        Nuclei 1..n, 0 is background.
    radius_px : float
        Radius of a signal, √2 times its Gaussian sigma.
    minimum_contrast : float
        Weakest candidate to keep, in standard deviations of the noise; low
        enough for the noise to show, since thresholds are found from it.
    beside_px : int
        A spot of a nucleus that has another one as near as this, along y and
        along x, may be the other's where the two overlap.
    tile : int
        Side of a tile in pixels; the result does not depend on it.

    Returns
    -------
    DataFrame
        One row a candidate, from top to bottom: ``cell`` (int64, the label
        under it, or the nearest one within a radius of a signal: outlines are
        not exact, and a signal on the rim belongs to its nucleus),
        ``y_px, x_px`` (sub-pixel; the centre of the first pixel is 0),
        ``size_px`` (diameter of the blob, see `blob_size`), ``height``
        (response in camera counts), ``contrast`` (the same in standard
        deviations of the noise) and ``shared`` (bool, another nucleus is near).

    Raises
    ------
    BadFieldError
        If the plane holds values that are not finite.
    """
    sigma = _sigma(radius_px)
    floor = grey_noise(plane) * _gain(sigma)
    if floor == 0:
        return pd.DataFrame(columns=_COLUMNS, dtype=np.float64).astype(_TYPES)
    noise = _noise(plane, labels, sigma, floor, tile)
    parts = []
    for region, block in _blocks(plane, sigma, tile, beside_px):
        own = np.asarray(labels[region.padded])
        spots = _maxima(region, block, own, noise, sigma, radius_px, minimum_contrast)
        parts.append(spots.assign(shared=_beside_another(own, region, spots, beside_px)))
    found = pd.concat(parts, ignore_index=True)
    return found[_COLUMNS].sort_values(["y_px", "x_px"], ignore_index=True)


def band_pass(block: np.ndarray, radius_px: float) -> np.ndarray:
    """Response to blobs of one size: a difference of Gaussians, float32.

    Parameters
    ----------
    block : ndarray, (h, w), number
    radius_px : float
        Radius of a blob, √2 times its sigma.
    """
    return _band(np.asarray(block, np.float32), _sigma(radius_px))


def blob_size(fine: np.ndarray, coarse: np.ndarray, sigma: float) -> np.ndarray:
    """Diameter of a Gaussian blob from its response in two neighbouring bands.

    Parameters
    ----------
    fine, coarse : ndarray, float
        Responses at the blob's centre to G(σ) − G(kσ) and G(kσ) − G(k²σ), with
        k = `RATIO`.
    sigma : float
        σ in pixels.

    Returns
    -------
    ndarray, float64
        2√2 times the blob's sigma. For a Gaussian blob the ratio of the two
        responses fixes its sigma in closed form. What is sharper than a point
        has size 0; what is too wide for these bands has 24 σ.
    """
    k2 = RATIO**2
    ratio = np.full(np.shape(fine), k2)
    np.divide(fine, coarse, out=ratio, where=coarse > 0)
    ratio = np.clip(ratio, 1 / k2 + 1e-6, k2)
    variance = k2 * sigma**2 * (k2 - ratio) / (k2 * ratio - 1)
    return np.minimum(np.sqrt(8 * variance), WIDEST * sigma)


def grey_noise(plane: Any) -> float:
    """Noise that rounding to grey steps makes: no plane is quieter than that.

    Without it a dark 8-bit plane, mostly one value, would have noise 0 and
    every ripple infinite contrast. Floats count as digitised to 16 bits.

    Parameters
    ----------
    plane : array-like, (H, W), number

    Returns
    -------
    float
        Standard deviation in units of the plane; 0 for a flat float plane.

    Raises
    ------
    BadFieldError
        If there are values that are not finite.
    """
    if np.issubdtype(plane.dtype, np.integer):
        return 1 / math.sqrt(12)
    ends = [_ends(np.asarray(plane[t.core])) for t in tiles(plane.shape, TILE)]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    if not math.isfinite(high - low):
        raise BadFieldError("it holds values that are not finite")
    return (high - low) / 65535 / math.sqrt(12)


def _sigma(radius_px: float) -> float:
    """Sigma of the finer Gaussian: the geometric mean of the two fits the blob."""
    return radius_px / math.sqrt(2 * RATIO)


def _blocks(
    plane: Any, sigma: float, tile: int, least: int = 0
) -> Iterator[tuple[Tile, np.ndarray]]:
    """Tiles with all the surroundings that their response and maxima need.

    The next one is decoded while this one is worked on.
    """
    halo = max(int(TRUNCATE * sigma * RATIO**2 + 0.5) + 1, least + 1)
    regions = list(tiles(plane.shape, tile, halo))
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(plane.__getitem__, regions[0].padded)
        for region, following in zip(regions, [*regions[1:], None], strict=True):
            block = np.asarray(coming.result(), np.float32)
            if following is not None:
                coming = reader.submit(plane.__getitem__, following.padded)
            yield region, block


def _smooth(block: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(block, sigma, mode="nearest", truncate=TRUNCATE)


def _band(block: np.ndarray, sigma: float) -> np.ndarray:
    return _smooth(block, sigma) - _smooth(block, RATIO * sigma)


def _gain(sigma: float) -> float:
    """Return the response's standard deviation to white noise of standard deviation 1."""
    radius = int(TRUNCATE * RATIO * sigma + 0.5)
    impulse = np.zeros((2 * radius + 1,) * 2, np.float32)
    impulse[radius, radius] = 1
    return float(np.linalg.norm(_band(impulse, sigma)))


def _ends(block: np.ndarray) -> tuple[float, float]:
    return float(block.min()), float(block.max())


class _Noise(NamedTuple):
    """Noise of the response under each label; as long as there are labels, whatever they are."""

    labels: np.ndarray  # ascending
    deviations: np.ndarray

    def under(self, labels: np.ndarray) -> np.ndarray:
        return self.deviations[np.searchsorted(self.labels, labels)]


def _noise(plane: Any, labels: Any, sigma: float, floor: float, tile: int) -> _Noise:
    """Robust standard deviation of the response in every nucleus, and outside (label 0).

    Median absolute values come from histograms, which add up over tiles to the
    same counts however the plane is cut. Signals are a small part of a nucleus
    and do not move its median.
    """
    parts = []
    for region, block in _blocks(plane, sigma, tile):
        response = np.abs(_band(block, sigma)[region.core_in_padded]) / floor
        octave = np.log2(np.maximum(response, 2.0**_LOWEST_OCTAVE)) - _LOWEST_OCTAVE
        bins = np.minimum(octave * _BINS_PER_OCTAVE, _BINS - 1).astype(np.int64)
        own = np.asarray(labels[region.core]).astype(np.int64).ravel()
        place, present = pd.factorize(own)
        cells = place * _BINS + bins.ravel()
        counts = np.bincount(cells, minlength=len(present) * _BINS).reshape(-1, _BINS)
        parts.append((present, counts))
    everywhere = np.unique(np.concatenate([present for present, _ in parts]))
    counts = np.zeros((len(everywhere), _BINS), np.int64)
    for present, part in parts:
        counts[np.searchsorted(everywhere, present)] += part
    nuclei = everywhere > 0
    in_nuclei = counts[nuclei].sum(axis=0)
    counts[nuclei & (counts.sum(axis=1) < FEWEST_PIXELS)] = in_nuclei
    return _Noise(everywhere, floor * np.maximum(MAD_TO_SD * _median(counts), 1.0))


def _median(counts: np.ndarray) -> np.ndarray:
    """Median in floors of each row of histograms, interpolated inside its bin."""
    below = np.cumsum(counts, axis=1)
    half = below[:, -1:] / 2
    bins = np.argmax(below >= half, axis=1)
    rows = np.arange(len(counts))
    inside = np.maximum(counts[rows, bins], 1)
    part = (half[:, 0] - (below[rows, bins] - counts[rows, bins])) / inside
    return 2.0 ** (_LOWEST_OCTAVE + (bins + part) / _BINS_PER_OCTAVE)


def _maxima(
    region: Tile,
    block: np.ndarray,
    labels: np.ndarray,
    noise: _Noise,
    sigma: float,
    radius_px: float,
    minimum_contrast: float,
) -> pd.DataFrame:
    """Candidates whose brightest pixel is in the tile's core."""
    smooth = [_smooth(block, sigma * RATIO**i) for i in range(3)]
    fine, coarse = smooth[0] - smooth[1], smooth[1] - smooth[2]
    peak = (fine == _highest_around(fine)) & (fine > 0)
    own = np.zeros_like(peak)
    own[region.core_in_padded] = True
    y, x = np.nonzero(peak & own)
    cells = _nearest(labels, y, x, radius_px)
    contrast = fine[y, x] / noise.under(cells)
    strong = contrast > minimum_contrast
    y, x, cells, contrast = y[strong], x[strong], cells[strong], contrast[strong]
    dy, dx = _vertex(fine, y, x)
    return pd.DataFrame(
        {
            "cell": cells,
            "y_px": y + dy + region.padded[0].start,
            "x_px": x + dx + region.padded[1].start,
            "size_px": blob_size(fine[y, x], coarse[y, x], sigma),
            "height": fine[y, x].astype(np.float64),
            "contrast": contrast,
        }
    )


def _highest_around(response: np.ndarray) -> np.ndarray:
    """Highest of the 3×3 pixels around each."""
    padded = np.pad(response, 1, mode="edge")
    rows = np.maximum(np.maximum(padded[:-2], padded[2:]), padded[1:-1])
    return np.maximum(np.maximum(rows[:, :-2], rows[:, 2:]), rows[:, 1:-1])


def _nearest(labels: np.ndarray, y: np.ndarray, x: np.ndarray, reach: float) -> np.ndarray:
    """Label under each pixel, or the nearest one within ``reach``; 0 where there is none."""
    cells = np.zeros(len(y), np.int64)
    steps = np.arange(-math.floor(reach), math.floor(reach) + 1)
    disc = [(math.hypot(dy, dx), dy, dx) for dy in steps for dx in steps]
    for distance, dy, dx in sorted(disc):
        if distance <= reach:
            cells = np.where(cells > 0, cells, _at(labels, y + dy, x + dx))
    return cells


def _beside_another(
    labels: np.ndarray, region: Tile, spots: pd.DataFrame, reach: int
) -> np.ndarray:
    """Tell which spots of a nucleus have another nucleus in the square around them."""
    y, x = (
        spots[axis].to_numpy().round().astype(np.int64) - part.start
        for axis, part in zip(("y_px", "x_px"), region.padded, strict=True)
    )
    cell = spots["cell"].to_numpy()
    other = np.zeros(len(spots), bool)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            near = _at(labels, y + dy, x + dx)
            other |= (near > 0) & (near != cell)
    return (cell > 0) & other


def _at(labels: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Labels at pixels; beyond the edge those on it."""
    height, width = labels.shape
    return labels[y.clip(0, height - 1), x.clip(0, width - 1)].astype(np.int64)


def _vertex(response: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset of a parabola's vertex from each maximum, along y and along x."""
    padded = np.pad(response, 1, mode="edge").astype(np.float64)
    y, x = y + 1, x + 1
    middle = padded[y, x]
    return (
        _parabola(padded[y - 1, x], middle, padded[y + 1, x]),
        _parabola(padded[y, x - 1], middle, padded[y, x + 1]),
    )


def _parabola(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> np.ndarray:
    curvature = before - 2 * middle + after
    offset = np.divide(
        before - after, 2 * curvature, out=np.zeros_like(middle), where=curvature < 0
    )
    return np.clip(offset, -0.5, 0.5)
