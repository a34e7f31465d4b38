"""Windows of a field, as the paper's network sees it: many nuclei and what lies between them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from cellsieve.anomaly.reference_nuclei import Scale, typical_intensity
from cellsieve.crops import DIAMETER, sampled_labels
from cellsieve.rescaled import Rescaled

# FMIC-AI cuts 512 px on a stride of 412 px; its transformer takes 224 px
WINDOW = 224  # pixels of a view in which a typical nucleus of the reference has `DIAMETER`
STRIDE = 180
CELL = 4  # such pixels to a pixel of a map
_MULTIPLE = 32  # pixels: the coarsest layer of a network divides every window


class Windows(NamedTuple):
    """Where the windows of a field lie.

    Attributes
    ----------
    view : Rescaled
        The field in the scale of the network.
    nuclei : array-like, (H, W), integer
    intensity : float
        Of a typical nucleus, counts.
    starts : list of tuple of int
        Rows and columns of the first pixels, multiples of `CELL`.
    """

    view: Rescaled
    nuclei: Any
    intensity: float
    starts: list[tuple[int, int]]

    @property
    def cell_px(self) -> float:
        """Pixels of the field to a pixel of a map."""
        return CELL / self.view.scale

    def region(self, start: tuple[int, int]) -> tuple[slice, slice]:
        """Return the part of the view that a window shows; the field may be smaller."""
        return tuple(
            slice(at, min(at + WINDOW, length))
            for at, length in zip(start, self.view.shape, strict=True)
        )

    def highest(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the highest score of the windows that show a place.

        Parameters
        ----------
        scores : ndarray, (n,)
            Of the windows.
        places : ndarray, (m, 2)
            In pixels of the field.

        Returns
        -------
        ndarray, (m,)
            NaN where no window with a score shows it.
        """
        best = np.full(len(places), -np.inf)
        for start, score in zip(self.starts, scores, strict=True):
            offset = places * self.view.scale - start
            shown = ((offset >= 0) & (offset < WINDOW)).all(1)
            best[shown] = np.fmax(best[shown], score)
        return np.where(np.isinf(best), np.nan, best)

    def showing_only(self, cells: Sequence[int]) -> "Windows":
        """Return the windows in which no other nuclei than some are seen."""
        known = np.array([0, *cells])
        seen = (
            sampled_labels(self.nuclei, self.region(start), self.view.scale)
            for start in self.starts
        )
        pure = [np.isin(labels, known).all() for labels in seen]
        return self._replace(starts=[s for s, kept in zip(self.starts, pure, strict=True) if kept])

    def cut(self, start: tuple[int, int]) -> np.ndarray:
        """Return the light and the nuclei of a window, (2, h, w), float32.

        Light is relative to a typical nucleus. Beyond the field it is mirrored.
        """
        region = self.region(start)
        light = self.view[region] / max(self.intensity, 1e-6)
        inside = sampled_labels(self.nuclei, region, self.view.scale) > 0
        padding = [(0, -length % _MULTIPLE) for length in light.shape]
        both = np.stack([light, inside]).astype(np.float32)
        return np.pad(both, [(0, 0), *padding], mode="symmetric")


def lay_windows(dapi: Any, nuclei: Any, quality: Mapping[str, Any], scale: Scale) -> Windows:
    """Cover a field with windows; the last ones are shifted inwards.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    nuclei : array-like, (H, W), integer
    quality : mapping
        The field's qc.json.
    scale : Scale
        Of the reference.
    """
    ruler = scale.ruler(quality)
    view = Rescaled(dapi, DIAMETER * ruler.zoom / ruler.diameter)
    starts = list(product(*(window_starts(length) for length in view.shape)))
    return Windows(view, nuclei, typical_intensity(quality, dapi, nuclei), starts)


def window_starts(length: int) -> list[int]:
    """Return where windows begin along an axis of a length, in pixels of the view."""
    # the last one ends with the field, or within a pixel of the map beyond it
    last = CELL * max(0, -(-(length - WINDOW) // CELL))
    return [*range(0, last, STRIDE), last]
