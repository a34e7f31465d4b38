"""Hand-made features of nuclei: the anomaly method that needs no training."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.measure import regionprops_table

from cellsieve.objects import batches

_FINE, _COARSE = 0.03, 0.08  # scales of the chromatin texture, in diameters
_TINY = 1e-6


class Ruler(NamedTuple):
    """The scale in which nuclei are described: the reference's, not the field's own.

    Attributes
    ----------
    diameter : float
        Typical diameter of the reference nuclei, in pixels of the reference.
    zoom : float
        Pixels of the reference per pixel of the field (1 when a pixel size is
        not known on both sides).
    """

    diameter: float
    zoom: float


def nucleus_features(dapi: Any, nuclei: Any, ruler: Ruler) -> pd.DataFrame:
    """Describe each nucleus by size, form, DNA content and chromatin texture.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    nuclei : array-like, (H, W), integer
        Instance labels.
    ruler : Ruler
        Scale of lengths and of texture.

    Returns
    -------
    DataFrame
        Indexed by label, ascending; columns ``f_*``, without unit. Intensities
        are relative to the median nucleus of the field, since stain and
        exposure differ between fields while abnormal nuclei are rare.
    """
    margin = int(4 * _COARSE * ruler.diameter / ruler.zoom) + 1
    parts = [
        _describe_batch(dapi, nuclei, batch.region, batch.labels, ruler)
        for batch in batches(nuclei, margin)
    ]
    if not parts:
        return pd.DataFrame()
    raw = pd.concat(parts).sort_index()
    typical = max(float(raw["mean"].median()), _TINY)
    content = max(float((raw["mean"] * raw["area"]).median()), _TINY)
    return pd.DataFrame(
        {
            "f_area": np.log(raw["area"] * ruler.zoom**2),
            "f_elongation": np.log(raw["major"] / raw["minor"].clip(lower=1)),
            "f_solidity": raw["solidity"],
            "f_roundness": (4 * np.pi * raw["area"] / raw["perimeter"].clip(lower=1) ** 2).clip(
                upper=1.3
            ),
            "f_intensity": np.log((raw["mean"] / typical).clip(lower=_TINY)),
            "f_dna": np.log((raw["mean"] * raw["area"] / content).clip(lower=_TINY)),
            "f_variation": np.log((raw["sd"] / raw["mean"].clip(lower=_TINY)).clip(lower=_TINY)),
            "f_fine_texture": np.log((raw["fine"] / raw["mean"].clip(lower=_TINY)) + 1e-3),
            "f_coarse_texture": np.log((raw["coarse"] / raw["mean"].clip(lower=_TINY)) + 1e-3),
            "f_brightest": np.log((raw["top"] / raw["mean"].clip(lower=_TINY)).clip(lower=_TINY)),
        }
    )


def _describe_batch(
    dapi: Any, nuclei: Any, region: tuple[slice, slice], owned: np.ndarray, ruler: Ruler
) -> pd.DataFrame:
    labels = np.asarray(nuclei[region])
    present, compact = np.unique(np.where(np.isin(labels, owned), labels, 0), return_inverse=True)
    compact = compact.reshape(labels.shape) + (0 if present[0] == 0 else 1)
    counts = np.asarray(dapi[region], np.float32)
    index = np.arange(1, len(owned) + 1)
    table = pd.DataFrame(
        regionprops_table(
            compact,
            properties=("area", "axis_major_length", "axis_minor_length", "solidity", "perimeter"),
        )
    ).rename(columns={"axis_major_length": "major", "axis_minor_length": "minor"})
    table["mean"] = ndimage.mean(counts, compact, index)
    table["sd"] = ndimage.standard_deviation(counts, compact, index)
    inside = (compact > 0).astype(np.float32)
    scale = ruler.diameter / ruler.zoom
    for name, share in (("fine", _FINE), ("coarse", _COARSE)):
        table[name] = _band_energy(counts, inside, compact, index, max(0.5, share * scale))
    smooth = ndimage.gaussian_filter(counts, max(0.5, _FINE * scale))
    table["top"] = ndimage.maximum(smooth, compact, index)
    return table.set_index(pd.Index(owned, name="cell"))


def _band_energy(
    counts: np.ndarray, inside: np.ndarray, labels: np.ndarray, index: np.ndarray, sigma: float
) -> np.ndarray:
    """Root mean square of a band-pass, normalised so that the nucleus' edge adds nothing."""
    blurred = [
        ndimage.gaussian_filter(counts * inside, s)
        / np.maximum(ndimage.gaussian_filter(inside, s), _TINY)
        for s in (sigma, 2 * sigma)
    ]
    return np.sqrt(ndimage.mean((blurred[0] - blurred[1]) ** 2, labels, index))
