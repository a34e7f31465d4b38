"""What a segmenter is: a network that outlines every nucleus of a picture by itself."""

from typing import NamedTuple, Protocol

import numpy as np


class Outlined(NamedTuple):
    """The nuclei of one picture.

    Attributes
    ----------
    labels : ndarray, (h, w), int32
        0 = background; of nuclei that overlap the surer one is seen.
    confidence : ndarray, (n + 1,), float32
        Of each label, 0 to 1; 0 for the background. Labels need not all be seen.
    """

    labels: np.ndarray
    confidence: np.ndarray


class Segmenter(Protocol):
    """A network that outlines nuclei; several at different scales of one field share nothing.

    Attributes
    ----------
    engine : str
        Its name in `cellsieve.segmenters.ENGINES`.
    diameter : float
        Pixels that a typical nucleus should have across in the pictures.
    side : int
        Side of a tile in pixels of the pictures, without its halo.
    halo : int
        Pixels of surroundings that a nucleus needs to be outlined as in any
        other picture; more than the largest nucleus has across.
    step : int
        Pictures begin and end at multiples of it, counted from the field's
        corner: the coarsest grid inside the network. ``side`` and ``halo``
        are multiples too.
    name : str
        File of the weights and its SHA-256, for records.
    """

    engine: str
    diameter: float
    side: int
    halo: int
    step: int
    name: str

    def segment(self, picture: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Outlined:
        """Outline the nuclei of a picture and draw them at another resolution.

        Parameters
        ----------
        picture : ndarray, (a, b), float32
            A typical nucleus is about 1, background 0; beyond the field 0.
        rows, cols : ndarray, (h,) and (w,), float64, ascending
            Where in the picture the pixels of the result have their middles; the
            middle of the picture's first pixel is at 0.5.

        Returns
        -------
        Outlined
            Labels of h × w pixels.
        """
