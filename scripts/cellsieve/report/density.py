"""Where in their fields the suspicious nuclei lie, smoothed, on one scale for the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cellsieve.report.fields import FieldSection
from cellsieve.report.inputs import Cells
from cellsieve.report.pictures import data_uri, heat_picture

REACH = 3.0  # standard deviation of the smoothing, in typical nucleus diameters
FEWEST = 5.0  # assessable nuclei near a place below which a share says nothing
PICTURE_PX = 360
_STEPS = 8  # map pixels to a standard deviation
_DOT, _RIM = (0, 225, 235), (0, 0, 0)  # seen on every colour of the map
_NOWHERE = np.empty((0, 2), np.float32)


@dataclass(frozen=True)
class FieldMap:
    """One field: its name, its nuclei counted and those assessable, a data URI."""

    field: str
    counted: int
    assessable: int
    picture: str


@dataclass(frozen=True)
class Distribution:
    """Maps of the run.

    Attributes
    ----------
    slides : dict of str to list of FieldMap
        Slide to its fields, in the order of the manifest.
    top : float
        Share that the brightest colour of all maps stands for, 0 to 1.
    called : bool
        Whether suspicious nuclei are counted; those of the gallery if none is.
    """

    slides: Mapping[str, Sequence[FieldMap]]
    top: float
    called: bool


def distribution(fields: Sequence[FieldSection], cells: Cells) -> Distribution:
    """Map the share of suspicious nuclei in every field that the page has pictures of.

    Parameters
    ----------
    fields : sequence of FieldSection
    cells : Cells
        Where no nucleus is suspicious, the ranked ones are mapped.
    """
    counted = cells.suspicious or _ranked(cells)
    shown = [f for f in fields if f.overlay and f.name in cells.assessable]
    shares = {
        f.name: share_nearby(
            counted.get(f.name, _NOWHERE),
            cells.assessable[f.name],
            f.qc["shape"],
            # given nuclei may lie where the survey saw none
            f.qc["diameter_px"] or max(f.qc["shape"]) / 20,
        )
        for f in shown
    }
    top = max((float(np.nan_to_num(values).max()) for values in shares.values()), default=0) or 1.0
    slides: dict[str, list[FieldMap]] = {}
    for f in shown:
        own = counted.get(f.name, _NOWHERE)
        picture = data_uri(_draw(shares[f.name], top, own / f.qc["shape"]))
        drawn = FieldMap(f.name, len(own), len(cells.assessable[f.name]), picture)
        slides.setdefault(f.slide, []).append(drawn)
    return Distribution(slides, top, called=bool(cells.suspicious))


def share_nearby(
    counted: np.ndarray, assessable: np.ndarray, shape: Sequence[int], diameter: float
) -> np.ndarray:
    """Share of the nuclei around each place that are counted, weighted by a Gaussian.

    Parameters
    ----------
    counted, assessable : ndarray, (n, 2), float
        y and x of centroids in pixels; the first are among the second.
    shape : sequence of int
        Height and width of the field in pixels.
    diameter : float
        Of a typical nucleus in pixels; the Gaussian's standard deviation is
        three of them.

    Returns
    -------
    ndarray, (h, w), float64
        0 to 1 (Nadaraya, Theory Probab. Appl. 9:141, 1964), of equal parts of the
        field; NaN where fewer than five assessable nuclei lie near, each counted
        as the Gaussian's height at its distance, 1 at none.
    """
    # no map is larger than its picture
    step = max(REACH * diameter / _STEPS, max(shape) / PICTURE_PX)
    size = [math.ceil(length / step) for length in shape]
    edges = [np.linspace(0, length, n + 1) for length, n in zip(shape, size, strict=True)]
    sigma = [REACH * diameter * n / length for length, n in zip(shape, size, strict=True)]
    near = [
        ndimage.gaussian_filter(np.histogramdd(places, edges)[0], sigma, mode="constant")
        for places in (counted, assessable)
    ]
    enough = near[1] * 2 * np.pi * np.prod(sigma) >= FEWEST
    return np.where(enough, near[0] / np.where(enough, near[1], 1), np.nan)


def _ranked(cells: Cells) -> dict[str, np.ndarray]:
    """Return the places of the ranked nuclei by field."""
    if cells.ranked.empty:
        return {}
    parts = cells.ranked.groupby("field")
    return {field: rows[["y_px", "x_px"]].to_numpy(np.float32) for field, rows in parts}


def _draw(shares: np.ndarray, top: float, places: np.ndarray) -> np.ndarray:
    """Colour a map, and mark each counted nucleus, at its share of height and width, by a dot."""
    picture = heat_picture(shares, (0.0, top), PICTURE_PX)
    middles = np.floor(places * picture.shape[:2]).astype(int)
    for half, colour in ((3, _RIM), (2, _DOT)):
        for y, x in middles:
            picture[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = colour
    return picture
