"""The FISH signals of one field: how wide they are, what bleeds through, where they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.errors import BadFieldError
from cellsieve.fish.bleed_through import bleed_shares, unmix
from cellsieve.fish.spots import find_spots, grey_noise
from cellsieve.tables import SIGNALS
from cellsieve.tiles import Tile, richest_tiles

SMALLEST_RADIUS_PX = 1.5  # below it the pixel, not the optics, makes the blob
TYPICAL_RADIUS = 0.03  # of a signal, in nucleus diameters, to start from
LARGEST_RADIUS = 0.08
# in nucleus diameters: so far may another nucleus reach into one that hardly touches it
BESIDE = 0.12
STRONG = 8.0  # contrast that noise does not reach
FEWEST_STRONG = 10


def field_signals(
    planes: Mapping[str, Any],
    labels: Any,
    diameter_px: float | None,
    radius_px: float | None = None,
    minimum_contrast: float = 3.0,
) -> tuple[pd.DataFrame, list[str]]:
    """Find the candidate signals of every probe of a field.

    Parameters
    ----------
    planes : mapping of str to array-like, (H, W), number
        Probe name to plane, in the order of the channels.
    labels : array-like, (H, W), integer
        Nuclei 1..n.
    diameter_px : float or None
        Typical diameter of a nucleus; None when the field has no nuclei.
    radius_px : float, optional
        Radius of a signal; estimated for each probe when it is not given.
    minimum_contrast : float
        Weakest candidate to keep (see `find_spots`).

    Returns
    -------
    signals : DataFrame
        With the columns of `tables.SIGNALS`.
    notes : list of str
        What was estimated, and what a reader should know of probes without
        signals.
    """
    parts = [pd.DataFrame(columns=list(SIGNALS)).astype(SIGNALS)]
    samples = richest_tiles(labels)
    if not samples or diameter_px is None:
        return parts[0], ["no nuclei: no signals were looked for"]
    strong, notes = _strongest(planes, labels, diameter_px, samples)
    usable = {probe: planes[probe] for probe in strong}
    radii = {p: radius_px or blob_radius(s["size_px"], diameter_px) for p, s in strong.items()}
    shares = bleed_shares(usable, strong, samples, max(radii.values(), default=0.0))
    beside_px = round(BESIDE * diameter_px)
    for probe, plane in unmix(usable, shares).items():
        spots = find_spots(plane, labels, radii[probe], minimum_contrast, beside_px)
        parts.append(spots.assign(probe=probe)[list(SIGNALS)].astype(SIGNALS))
        notes.append(f"{probe}: signal radius {radii[probe]:.2f} px")
    notes += [f"{share:.1%} of {a} is seen in {b}; removed" for (a, b), share in shares.items()]
    return pd.concat(parts, ignore_index=True), notes


def strongest_signals(
    plane: Any, labels: Any, diameter_px: float, samples: Sequence[Tile]
) -> pd.DataFrame:
    """Find the strongest blobs in nuclei, two a nucleus: so many has a normal one.

    Parameters
    ----------
    plane : array-like, (H, W), number
    labels : array-like, (H, W), integer
    diameter_px : float
        Typical diameter of a nucleus.
    samples : sequence of Tile
        Parts of the field to look at.

    Returns
    -------
    DataFrame
        What `find_spots` gives, in pixels of each tile's core, and ``tile``.
    """
    found = []
    for index, tile in enumerate(samples):
        own = np.asarray(labels[tile.core])
        spots = find_spots(np.asarray(plane[tile.core]), own, _typical(diameter_px), STRONG)
        nuclei = len(np.unique(own[own > 0]))
        best = spots[spots["cell"] > 0].nlargest(2 * nuclei, "contrast")
        found.append(best.assign(tile=index))
    return pd.concat(found, ignore_index=True)


def blob_radius(sizes: pd.Series, diameter_px: float) -> float:
    """Radius of a probe's signals from the sizes of its strongest blobs.

    Parameters
    ----------
    sizes : Series of float
        Diameters in pixels.
    diameter_px : float
        Typical diameter of a nucleus.

    Returns
    -------
    float
        Half the median size, between 1.5 px and 0.08 diameters; 0.03
        diameters when fewer than 10 blobs are strong.
    """
    if len(sizes) < FEWEST_STRONG:
        return _typical(diameter_px)
    largest = max(SMALLEST_RADIUS_PX, LARGEST_RADIUS * diameter_px)
    return float(np.clip(np.median(sizes) / 2, SMALLEST_RADIUS_PX, largest))


def _strongest(
    planes: Mapping[str, Any], labels: Any, diameter_px: float, samples: Sequence[Tile]
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Strongest signals of the probes that can be used, and why others cannot."""
    strong, notes = {}, []
    for probe, plane in planes.items():
        try:
            grey_noise(plane)
            strong[probe] = strongest_signals(plane, labels, diameter_px, samples)
        except BadFieldError as error:
            notes.append(f"{probe}: {error}")
    return strong, notes


def _typical(diameter_px: float) -> float:
    return max(SMALLEST_RADIUS_PX, TYPICAL_RADIUS * diameter_px)
