"""From the DAPI plane of a raw field to a background-free one, with its quality."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import zarr
from scipy import ndimage
from skimage.filters import threshold_otsu

from cellsieve.background import Background, estimate_background
from cellsieve.errors import BadFieldError
from cellsieve.stores import add_plane
from cellsieve.survey import survey
from cellsieve.tiles import sample_windows, tiles

TILE = 2048
_FOREGROUND_SIGMA = 0.05  # diameters
_GLARE = 3.0  # times the contrast of a typical nucleus
_OUT_OF_FOCUS = 3.0  # sharpness, see cellsieve.survey
_SATURATED = 0.02  # share of the foreground at the highest value


_Windows = list[tuple[slice, slice]]


class Range(NamedTuple):
    """Lowest and highest value of a plane."""

    lowest: float
    highest: float


def value_range(plane: Any) -> Range:
    """Read a plane once and refuse what cannot be an image of nuclei.

    Parameters
    ----------
    plane : array-like, (H, W)

    Returns
    -------
    Range

    Raises
    ------
    BadFieldError
        When values are not finite, or all the same.
    """
    lows, highs = [], []
    for block in _finite_blocks(plane, "the DAPI channel"):
        lows.append(block.min())
        highs.append(block.max())
    lowest, highest = float(min(lows)), float(max(highs))
    if lowest == highest:
        raise BadFieldError(f"the DAPI channel has one flat value, {lowest:g}, everywhere")
    return Range(lowest, highest)


def check_probe(plane: Any) -> None:
    """Read a probe's plane once and refuse it when a part of it cannot be used.

    Parameters
    ----------
    plane : array-like, (H, W)
        May be flat: a probe without any signal is a result.

    Raises
    ------
    BadFieldError
        When a tile cannot be decoded or values are not finite.
    """
    for _ in _finite_blocks(plane, "the channel"):
        pass


def preprocess(plane: Any, store: zarr.Group) -> dict[str, Any]:
    """Remove the background, mark the foreground and measure the field's quality.

    Parameters
    ----------
    plane : array-like, (H, W)
        Raw DAPI counts, integer or float; read tile by tile.
    store : zarr.Group
        Receives ``dapi`` (counts above background, uint16 for integer images,
        float32 for float ones) and ``foreground`` (uint8, 1 above the Otsu
        threshold).

    Returns
    -------
    dict
        The part of ``qc.json`` that comes from the pixels: ``status``,
        ``reasons``, ``diameter_px``, ``focus``, ``saturated_fraction``,
        ``background``, ``foreground_fraction``, ``nuclear_intensity``.

    Raises
    ------
    BadFieldError
        When the plane cannot be used.
    """
    extremes = value_range(plane)
    windows = sample_windows(plane)
    seen = survey(plane, windows)
    integer = np.dtype(plane.dtype).kind in "iu"
    dapi = add_plane(store, "dapi", plane.shape, np.uint16 if integer else np.float32)
    foreground = add_plane(store, "foreground", plane.shape, np.uint8)
    # without nuclei any smooth background will do; the image may be tiny
    background = estimate_background(plane, seen.diameter or max(plane.shape) / 8)
    sigma = max(1.0, _FOREGROUND_SIGMA * (seen.diameter or 0))
    brightest = _GLARE * (seen.contrast or np.inf)
    threshold = _otsu(plane, background, sigma, brightest, windows)
    fractions = _write(plane, background, (sigma, threshold), extremes.highest, dapi, foreground)
    intensity = _nuclear_intensity(dapi, foreground, windows) if seen.diameter else None
    qc = {
        "diameter_px": _rounded(seen.diameter),
        "focus": _rounded(seen.sharpness),
        "background": _rounded(float(np.median(background.mesh))),
        "nuclear_intensity": _rounded(intensity),
        **fractions,
    }
    return {**qc, **_judge(qc)}


def _finite_blocks(plane: Any, name: str) -> Iterator[np.ndarray]:
    for tile in tiles(plane.shape, TILE):
        block = np.asarray(plane[tile.core])
        if not np.isfinite(block).all():
            raise BadFieldError(f"{name} holds values that are not numbers (NaN or inf)")
        yield block


def _judge(qc: dict[str, Any]) -> dict[str, Any]:
    if qc["diameter_px"] is None:
        return {"status": "empty", "reasons": ["nothing looks like a nucleus"]}
    reasons = []
    if qc["focus"] < _OUT_OF_FOCUS:
        reasons.append(f"out of focus: sharpness {qc['focus']:.1f}, at least {_OUT_OF_FOCUS:g}")
    if qc["saturated_fraction"] > _SATURATED:
        reasons.append(f"saturated: {qc['saturated_fraction']:.1%} of the foreground at the top")
    return {"status": "flagged" if reasons else "ok", "reasons": reasons}


def _subtract(plane: Any, background: Background, region: tuple[slice, slice]) -> np.ndarray:
    return np.asarray(plane[region]).astype(np.float32) - background.at(region)


def _otsu(
    plane: Any, background: Background, sigma: float, brightest: float, windows: _Windows
) -> float:
    """Threshold between background and nuclei.

    Values are clipped at ``brightest``: a few glaring pieces of debris would
    else make one class and the nuclei, with the background, the other.
    """
    values = [
        ndimage.gaussian_filter(_subtract(plane, background, window), sigma).ravel()
        for window in windows
    ]
    return float(threshold_otsu(np.minimum(np.concatenate(values), brightest)))


def _write(
    plane: Any,
    background: Background,
    smoothing: tuple[float, float],
    highest: float,
    dapi: zarr.Array,
    foreground: zarr.Array,
) -> dict[str, float]:
    sigma, threshold = smoothing
    above = saturated = 0
    for tile in tiles(plane.shape, TILE, halo=int(4 * sigma) + 1):
        counts = _subtract(plane, background, tile.padded)
        bright = (ndimage.gaussian_filter(counts, sigma) > threshold)[tile.core_in_padded]
        dapi[tile.core] = _stored(counts[tile.core_in_padded], dapi.dtype)
        foreground[tile.core] = bright
        above += int(bright.sum())
        saturated += int((np.asarray(plane[tile.core]) >= highest)[bright].sum())
    return {
        "foreground_fraction": round(above / (plane.shape[0] * plane.shape[1]), 6),
        "saturated_fraction": round(saturated / max(above, 1), 6),
    }


def _stored(counts: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Clip to what the type holds: a background extrapolated below 0 would wrap a full pixel."""
    if dtype.kind == "f":
        return np.maximum(counts, 0)
    return np.rint(np.clip(counts, 0, np.iinfo(dtype).max)).astype(dtype)


def _nuclear_intensity(dapi: Any, foreground: Any, windows: _Windows) -> float | None:
    bright = [np.asarray(dapi[window])[np.asarray(foreground[window]) > 0] for window in windows]
    values = np.concatenate(bright)
    return float(np.median(values)) if len(values) else None


def _rounded(value: float | None) -> float | None:
    """Six significant digits: the last bits of a float are not a measurement."""
    return None if value is None else float(f"{value:.6g}")
