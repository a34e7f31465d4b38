"""Hand-made features of nuclei: the anomaly method that needs no training."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.measure import regionprops

from cellsieve.objects import Batch, batches

_FINE, _COARSE = 0.03, 0.08  # scales of the chromatin texture, in diameters
_TINY = 1e-6
# more DNA makes a nucleus larger or brighter: either raises the content
CAUSES = {"f_area": ("f_dna",), "f_intensity": ("f_dna",)}


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


def nucleus_features(
    dapi: Any, nuclei: Any, ruler: Ruler, boxes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Describe each nucleus by size, form, DNA content and chromatin texture.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    nuclei : array-like, (H, W), integer
        Instance labels.
    ruler : Ruler
        Scale of lengths and of texture.
    boxes : DataFrame, optional
        As `cellsieve.objects.batches` takes them.

    Returns
    -------
    DataFrame
        Indexed by label, ascending; columns ``f_*``, without unit. Each
        is the higher, the more a nucleus has of a sign of malignancy: large,
        long, dented, ragged, full of DNA, of coarse chromatin. Intensities are
        relative to the median nucleus of the field, since stain and exposure
        differ between fields while abnormal nuclei are rare.
    """
    scale = ruler.diameter / ruler.zoom
    parts = [_describe_batch(dapi, nuclei, batch, scale) for batch in batches(nuclei, boxes=boxes)]
    if not parts:
        return pd.DataFrame()
    raw = pd.concat(parts).sort_index()
    typical = max(float(raw["mean"].median()), _TINY)
    content = max(float((raw["mean"] * raw["area"]).median()), _TINY)
    mean = raw["mean"].clip(lower=_TINY)
    roundness = 4 * np.pi * raw["area"] / raw["perimeter"].clip(lower=1) ** 2
    return pd.DataFrame(
        {
            "f_area": raw["area"] / scale**2,
            "f_elongation": raw["major"].clip(lower=1) / raw["minor"].clip(lower=1),
            "f_indentation": 1 - raw["solidity"],
            "f_raggedness": 1 - roundness.clip(upper=1.3),
            "f_intensity": raw["mean"] / typical,
            "f_dna": raw["mean"] * raw["area"] / content,
            "f_variation": raw["sd"] / mean,
            "f_fine_texture": raw["fine"] / mean,
            "f_coarse_texture": raw["coarse"] / mean,
            "f_brightest": raw["top"] / mean,
        }
    )


def _describe_batch(dapi: Any, nuclei: Any, batch: Batch, scale: float) -> pd.DataFrame:
    numbers = batch.number(np.asarray(nuclei[batch.region]))
    counts = np.asarray(dapi[batch.region], np.float32)
    rows = [_describe(nucleus, scale) for nucleus in regionprops(numbers, counts)]
    return pd.DataFrame(rows, index=pd.Index(batch.labels, name="cell"))


def _describe(nucleus: Any, scale: float) -> dict[str, float]:
    """Describe one nucleus by its own pixels alone: no neighbour adds to its texture."""
    inside = nucleus.image
    counts = np.where(inside, nucleus.image_intensity, 0)
    values = counts[inside].astype(np.float64)
    return {
        "area": nucleus.area,
        "major": nucleus.axis_major_length,
        "minor": nucleus.axis_minor_length,
        "solidity": nucleus.solidity,
        "perimeter": nucleus.perimeter,
        "mean": values.mean(),
        "sd": values.std(),
        "fine": _band_energy(counts, inside, max(0.5, _FINE * scale)),
        "coarse": _band_energy(counts, inside, max(0.5, _COARSE * scale)),
        "top": float(_blurred(counts, max(0.5, _FINE * scale))[inside].max()),
    }


def _band_energy(counts: np.ndarray, inside: np.ndarray, sigma: float) -> float:
    """Root mean square of a band-pass, normalised so that the nucleus' edge adds nothing."""
    narrow, wide = (
        _blurred(counts, s)[inside] / _blurred(inside.astype(np.float32), s)[inside]
        for s in (sigma, 2 * sigma)
    )
    return float(np.sqrt(np.mean((narrow - wide) ** 2)))


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, mode="constant")
