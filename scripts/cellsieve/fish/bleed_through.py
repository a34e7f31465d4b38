"""Light of one probe that is seen in the channel of another, estimated and removed.

Where a probe has its strongest signals, another probe has none, save by rare
coincidence. So the median of the other channel's response there, in parts of
the first one's, is the share that bleeds through.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.fish.spots import band_pass
from cellsieve.tiles import Tile

FEWEST_SIGNALS = 10  # for a median to mean anything
SMALLEST_SHARE = 0.01  # less does not lift a signal out of the noise
# more is no filter set's bleed-through: the probes lie side by side on the chromosome
LARGEST_SHARE = 0.3


class Unmixed:
    """A plane less shares of other planes; slice it like the plane itself.

    Parameters
    ----------
    plane : array-like, (H, W), number
    others : sequence of (array-like, float)
        Planes of the same shape, and their shares.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        Of the plane as it was recorded, since its grey steps remain; slices
        are float32.
    """

    def __init__(self, plane: Any, others: Sequence[tuple[Any, float]]):
        self._plane, self._others = plane, others
        self.shape, self.dtype = plane.shape, plane.dtype

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        block = np.asarray(self._plane[region]).astype(np.float32)
        for other, share in self._others:
            block -= np.float32(share) * np.asarray(other[region], np.float32)
        return block


def bleed_shares(
    planes: Mapping[str, Any],
    signals: Mapping[str, pd.DataFrame],
    samples: Sequence[Tile],
    radius_px: float,
) -> dict[tuple[str, str], float]:
    """Estimate which part of each probe's light is seen in each other channel.

    Parameters
    ----------
    planes : mapping of str to array-like, (H, W), number
    signals : mapping of str to DataFrame
        The strongest signals of each probe: ``tile`` (index in ``samples``)
        and ``y_px, x_px`` within the tile's core.
    samples : sequence of Tile
        Parts of the field to look at.
    radius_px : float
        Radius of a signal.

    Returns
    -------
    dict of (str, str) to float
        ``(from, to)``: share; pairs without bleed-through are left out.
    """
    ratios: dict[tuple[str, str], list[np.ndarray]] = {}
    for index, tile in enumerate(samples):
        bands = {
            p: band_pass(np.asarray(plane[tile.core]), radius_px) for p, plane in planes.items()
        }
        for source, spots in signals.items():
            at = _pixels(spots[spots["tile"] == index], bands[source].shape)
            for target, band in bands.items():
                if target != source:
                    ratios.setdefault((source, target), []).append(band[at] / bands[source][at])
    shares = {pair: _share(np.concatenate(found)) for pair, found in ratios.items()}
    return {pair: share for pair, share in shares.items() if share}


def unmix(planes: Mapping[str, Any], shares: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """Return each plane without the light of the others."""
    clean = {}
    for target, plane in planes.items():
        others = [(planes[a], share) for (a, b), share in shares.items() if b == target]
        clean[target] = Unmixed(plane, others) if others else plane
    return clean


def _pixels(spots: pd.DataFrame, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = (spots[c].to_numpy().round().astype(np.int64) for c in ("y_px", "x_px"))
    return y.clip(0, shape[0] - 1), x.clip(0, shape[1] - 1)


def _share(ratios: np.ndarray) -> float:
    """Return the median share, 0 where it is none or cannot be told."""
    if len(ratios) < FEWEST_SIGNALS:
        return 0.0
    share = float(np.median(ratios))
    return share if SMALLEST_SHARE <= share <= LARGEST_SHARE else 0.0
